//! sendmail(8), mailq(8) and newaliases(8): one program, three names.
fn main() -> std::process::ExitCode {
    rmail::send::main()
}
