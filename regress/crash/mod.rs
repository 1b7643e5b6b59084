//! Tests of kind crash: processes die at any moment, and what was said stays true.
//!
//! `SEED=n` repeats a run; `SOAK=1` does twenty.

use crate::daemon::Daemon;
use crate::{Env, Outcome, Test};
use kill::Victim;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

mod judge;
mod kill;
mod plan;
mod post;
mod read;
mod sync;
mod wire;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test {
        name: "killed-processes-make-no-reply-untrue",
        run: |env| seeds(env, Victim::Processes),
    },
    Test { name: "killed-daemon-makes-no-reply-untrue", run: |env| seeds(env, Victim::Daemon) },
    Test { name: "everything-is-synced-before-the-reply", run: sync::before_the_reply },
];

/// How many seeds `make soak` tries.
const SOAK: u64 = 20;

fn seeds(env: &Env, victim: Victim) -> Outcome {
    let given = std::env::var("SEED").ok().and_then(|s| s.parse::<u64>().ok());
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let first = given.unwrap_or(clock % 1_000_000);
    let n = if given.is_none() && std::env::var_os("SOAK").is_some() { SOAK } else { 1 };
    let mut wrong = Vec::new();
    for seed in first..first + n {
        println!("crash: {victim:?}: SEED={seed}");
        let dir = env.dir.join(seed.to_string());
        let figures = kill::run(env, &dir, seed, victim);
        println!("crash: {victim:?}: SEED={seed}: {}", figures.line());
        match figures.wrong() {
            Some(why) => wrong.push(format!("SEED={seed}: {why}")),
            // The next seeds need the room.
            None => drop(std::fs::remove_dir_all(&dir)),
        }
    }
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("\n"))
    }
}

/// Where the daemon listens.
#[derive(Clone, Copy)]
pub struct Place {
    pub smtp: SocketAddr,
    pub submission: SocketAddr,
    pub smtps: SocketAddr,
    pub imaps: SocketAddr,
}

/// The same, of the daemon that lives now.
#[derive(Default)]
pub struct Places(Mutex<Option<Place>>);

impl Places {
    pub fn learn(&self, daemon: &Daemon) {
        *self.0.lock().unwrap() = Some(Place {
            smtp: daemon.address("smtp", 0),
            submission: daemon.address("smtp", 1),
            smtps: daemon.address("smtps", 0),
            imaps: daemon.address("imaps", 0),
        });
    }

    pub fn get(&self) -> Place {
        self.0.lock().unwrap().expect("a daemon")
    }
}
