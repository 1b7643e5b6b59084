//! A bounded number of threads for one class of a server's work.
//!
//! Runs in every process that answers requests.  A full pool refuses at once:
//! the caller then says `Busy`, which its own caller turns into a 4xx, never
//! into a wrong answer.

use crate::base::lock;
use std::sync::mpsc::{sync_channel, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex};

/// Stack of a worker: parsers are depth-limited to fit it.
const STACK: usize = 256 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of workers that end when it is dropped and its jobs are done.
pub struct Pool {
    jobs: SyncSender<Job>,
}

impl Pool {
    /// Starts `threads` workers with room for `waiting` jobs beside those in
    /// work.  Any thread may submit.
    pub fn start(name: &str, threads: usize, waiting: usize) -> std::io::Result<Pool> {
        let (jobs, queue) = sync_channel::<Job>(waiting);
        let queue = Arc::new(Mutex::new(queue));
        for i in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("{name}{i}"))
                .stack_size(STACK)
                .spawn(move || work(&queue))?;
        }
        Ok(Pool { jobs })
    }

    /// Gives a job to the pool; false if every worker is busy and the queue full.
    pub fn submit(&self, job: impl FnOnce() + Send + 'static) -> bool {
        match self.jobs.try_send(Box::new(job)) {
            Ok(()) => true,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => false,
        }
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held only while waiting for a job, and nothing in here panics.
        let job = lock::lock(queue).recv();
        let Ok(job) = job else { return };
        // A job that panics costs its caller an answer (it runs into its
        // deadline), not the pool a worker.  The panic hook has logged it.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_full_pool_refuses_and_recovers() {
        let pool = Pool::start("t", 1, 1).unwrap();
        let (begun_tx, begun) = channel();
        let (go, wait) = channel::<()>();
        assert!(pool.submit(move || {
            begun_tx.send(()).unwrap();
            wait.recv().unwrap();
        }));
        begun.recv().unwrap();
        let (done_tx, done) = channel();
        assert!(pool.submit(move || done_tx.send(()).unwrap()));
        assert!(!pool.submit(|| ()));
        go.send(()).unwrap();
        done.recv().unwrap();
    }

    #[test]
    fn a_panicking_job_costs_no_worker() {
        let pool = Pool::start("t", 1, 4).unwrap();
        assert!(pool.submit(|| panic!("expected by the test")));
        let (tx, rx) = channel();
        assert!(pool.submit(move || tx.send(7).unwrap()));
        assert_eq!(rx.recv(), Ok(7));
    }
}
