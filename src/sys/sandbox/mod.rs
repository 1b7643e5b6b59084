//! The sandbox of a process: pledge and unveil, seccomp and Landlock.
