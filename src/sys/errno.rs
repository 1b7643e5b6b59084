//! Errors of system calls.
