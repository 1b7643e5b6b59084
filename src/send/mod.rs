//! The sendmail, mailq and newaliases front ends.
//!
//! One program; its name decides.  It needs no privilege: a message goes over
//! the control socket as a mail session, and what the daemon neither takes nor
//! refuses for good into the offline directory, where the daemon finds it.  Who
//! sends mail from cron(8) or a program has no queue of his own.  Input from the user is local
//! but not trusted: line ends are made CRLF, a line with a single dot is data
//! unless it ends the message (`-i`, `-oi`), and what becomes an address is
//! checked.

mod offline;
mod options;
mod session;

use crate::base::exits::sysexits;
use crate::disk::offline::{NotKept, HALF, UNKNOWN};
use crate::proto::mime::field::Fields;
use crate::sys::errno::{reason, SysError};
use crate::sys::sandbox::{self, Promise, Unveil};
use options::{Mode, Options};
use session::{Failed, Stopped};
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

/// The largest message that is read before the daemon is asked.
const LARGEST: u64 = 1 << 30;

/// The programs' main function; the name in argv\[0\] decides which it is.
pub fn main() -> ExitCode {
    if crate::sys::signal::program().is_err() {
        return ExitCode::from(sysexits::OSERR);
    }
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let args: Vec<_> = args.collect();
    match Path::new(&name).file_name().and_then(|n| n.to_str()) {
        Some("mailq") => under_another_name(&args, mailq),
        Some("newaliases") => under_another_name(&args, newaliases),
        _ => sendmail(&args),
    }
}

/// Prints an error and gives its exit status.
fn fail(why: &str, status: u8) -> ExitCode {
    // A closed stderr leaves nobody to tell; the status does.
    let _ = writeln!(std::io::stderr(), "sendmail: {why}");
    ExitCode::from(status)
}

/// mailq and newaliases know the options that sendmail has.
fn under_another_name(args: &[std::ffi::OsString], run: fn(&Path) -> ExitCode) -> ExitCode {
    match Options::parse(args) {
        Ok(options) => run(&options.socket),
        Err(why) => fail(&why, sysexits::USAGE),
    }
}

/// Runs the rmailctl that was installed with this program, or stands beside it;
/// else the one in PATH, in which sbin need not be.
fn rmailctl(socket: &Path, args: &[&str]) -> ExitCode {
    let beside = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("rmailctl")));
    let installed = option_env!("RMAILD").map(|p| Path::new(p).with_file_name("rmailctl"));
    let program = [beside, installed].into_iter().flatten().find(|p| p.exists());
    let program = program.unwrap_or_else(|| "rmailctl".into());
    match std::process::Command::new(program).arg("-s").arg(socket).args(args).status() {
        Ok(status) => ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)),
        Err(e) => fail(&format!("rmailctl: {}", reason(&e)), sysexits::UNAVAILABLE),
    }
}

fn mailq(socket: &Path) -> ExitCode {
    rmailctl(socket, &["show", "queue"])
}

/// The daemon reads its tables itself, so there is nothing to compile.  Which
/// of them have aliases its configuration says: all are read anew, as they are
/// for `update table` of one.
fn newaliases(socket: &Path) -> ExitCode {
    rmailctl(socket, &["reload"])
}

fn sendmail(args: &[std::ffi::OsString]) -> ExitCode {
    let options = match Options::parse(args) {
        Ok(options) => options,
        Err(why) => return fail(&why, sysexits::USAGE),
    };
    match options.mode {
        // They run another program.
        Mode::Queue => return mailq(&options.socket),
        Mode::Aliases => return newaliases(&options.socket),
        Mode::Deliver | Mode::Session | Mode::Offline => {}
    }
    // Before the sandbox: the name of whoever sends is in passwd(5).
    let sender = options.sender();
    if let Err(e) = confine(&options) {
        return fail(&format!("the sandbox: {e}"), sysexits::OSERR);
    }
    match options.mode {
        Mode::Session => session::relay_stdin(&options.socket),
        Mode::Offline => send_kept(&options),
        _ => deliver(&options, sender),
    }
}

/// Enters the sandbox, before any input is read: what is left is the daemon and
/// the directory of the files that are written or sent.
fn confine(options: &Options) -> Result<(), SysError> {
    use Promise::{Cpath, Fattr, Flock, Rpath, Stdio, Unix, Wpath};
    let unveil = |path: &Path, perms| Unveil { path: path.to_path_buf(), perms };
    // unveil(2): connect(2) needs w.
    let socket = unveil(&options.socket, "w");
    let directory = match options.mode {
        Mode::Session => return sandbox::enter(&[Stdio, Unix], &[socket]).map(drop),
        Mode::Offline => options.offline.parent().map(Path::to_path_buf).unwrap_or_default(),
        _ => options.offline_directory(),
    };
    let here = directory.as_os_str().is_empty();
    let directory = unveil(if here { Path::new(".") } else { &directory }, "rwc");
    let mut promises = vec![Stdio, Rpath, Wpath, Cpath, Flock, Unix];
    if options.mode == Mode::Offline {
        // What is left of a kept message is as old as that was.
        promises.push(Fattr);
    }
    sandbox::enter(&promises, &[socket, directory]).map(drop)
}

/// Sends the message on standard input.
fn deliver(options: &Options, sender: String) -> ExitCode {
    let mut message = Vec::new();
    let stdin = std::io::stdin().lock();
    // One octet more tells a message of this size from the head of a larger one.
    if let Err(e) = stdin.take(LARGEST.saturating_add(1)).read_to_end(&mut message) {
        return fail(&format!("stdin: {}", reason(&e)), sysexits::IOERR);
    }
    if u64::try_from(message.len()).map_or(true, |n| n > LARGEST) {
        let why = format!("the message has more than {LARGEST} octets: it is not sent");
        return fail(&why, sysexits::DATAERR);
    }
    let message = options::normalise(&message, options.dot_is_data);
    let recipients = match options.all_recipients(&message) {
        Ok(all) if all.is_empty() => return fail("no recipients", sysexits::USAGE),
        Ok(all) => all,
        Err(why) => return fail(&why, sysexits::DATAERR),
    };
    let message = if options.from_header { options::without_bcc(&message) } else { message };
    let mail = session::Mail {
        sender,
        full_name: options.full_name.clone(),
        notify: options.notify.clone(),
        ret: options.ret.clone(),
        envid: options.envid.clone(),
        recipients,
        message,
    };
    match session::submit(&options.socket, &mail) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Stopped { failed: failed @ (Failed::Refused(_) | Failed::Full(_)), sent: 0 }) => {
            outcome(Err(failed))
        }
        Err(Stopped { failed, sent: 0 }) => keep(options, &mail, &failed),
        Err(Stopped { failed, sent }) => keep_rest(options, mail, sent, &failed),
    }
}

/// Keeps a message that the daemon was not there for, could not take now, or
/// whose end it did not answer: it has it twice rather than not at all.
fn keep(options: &Options, mail: &session::Mail, failed: &Failed) -> ExitCode {
    match offline::keep(&options.offline_directory(), mail) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // When the daemon runs it may well take more.
            let status = match e {
                NotKept::Size => sysexits::DATAERR,
                NotKept::Recipients | NotKept::System(_) => sysexits::TEMPFAIL,
            };
            fail(&format!("{}; and offline: {e}: it is not sent", failed.why()), status)
        }
    }
}

/// Keeps a message for those whom the last transactions would have reached: who
/// asks for it again would send it twice to the others.
fn keep_rest(options: &Options, mut mail: session::Mail, sent: usize, failed: &Failed) -> ExitCode {
    let total = mail.recipients.len();
    mail.recipients.drain(..sent);
    match offline::keep(&options.offline_directory(), &mail) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            let next = mail.recipients.first().map_or("", String::as_str);
            let why = format!(
                "sent to the first {sent} of {total} addresses, not to {next} and what follows \
                 it: {}; and offline: {e}",
                failed.why()
            );
            // Not 75: tried again as it is, it would be sent twice.
            fail(&why, sysexits::UNAVAILABLE)
        }
    }
}

/// `-Z`: the statuses tell parent what became of the file.
fn send_kept(options: &Options) -> ExitCode {
    let file = options.offline.display();
    match offline::send(&options.socket, &options.offline) {
        Ok(()) => ExitCode::SUCCESS,
        Err(offline::Unsent::Session(failed)) => outcome(Err(failed)),
        Err(offline::Unsent::Unknown) => {
            fail(&format!("{file}: of another version, too large or damaged: it stays"), UNKNOWN)
        }
        Err(offline::Unsent::Half) => fail(&format!("{file}: half a message: removed"), HALF),
    }
}

/// Fuzz target: a message on standard input of `sendmail -t`.
pub fn fuzz_message(bytes: &[u8]) {
    let message = options::normalise(bytes, true);
    assert!(!message.windows(2).any(|w| w[1] == b'\n' && w[0] != b'\r'));
    let options = Options::parse(&["-t".into()]).expect("options");
    // What becomes part of a command is one word of it.
    for recipient in options.all_recipients(&message).unwrap_or_default() {
        assert!(recipient.bytes().all(|b| b >= b' ' && b != 0x7f), "{recipient:?}");
        assert_eq!(session::complete(&recipient, "mx.example").matches('\n').count(), 0);
    }
    let left = options::without_bcc(&message);
    assert!(!Fields::new(&left).any(|f| f.is(b"bcc")));
}

fn outcome(result: Result<(), Failed>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed::Refused(why)) => fail(&why, sysexits::UNAVAILABLE),
        Err(failed) => fail(failed.why(), sysexits::TEMPFAIL),
    }
}
