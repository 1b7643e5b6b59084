//! rmaild(8), the daemon.
fn main() -> std::process::ExitCode {
    rmail::proc::main()
}
