//! rmailctl(8), the control program.
fn main() -> std::process::ExitCode {
    rmail::ctl::main()
}
