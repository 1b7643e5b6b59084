use super::*;

const S: i64 = 1000;
const DAY: u64 = 86_400;

fn rules(base: u64, jobs: usize, jobs_per_dest: usize) -> Rules {
    Rules { base: Duration::from_secs(base), jobs, jobs_per_dest, rcpts: 3 }
}

fn sched() -> Sched {
    let (local, remote) = (rules(10, 20, 1), rules(400, 4, 2));
    Sched::new(Settings { local, remote, max_deferred: 100 })
}

fn at(secs: i64) -> Now {
    Now { wall: 1_700_000_000 * S + secs * S, mono: secs * S }
}

fn id(n: u64, rcpt: u32) -> Id {
    Id { qid: Qid::from_bits(n).unwrap(), rcpt }
}

fn item(n: u64, rcpt: u32, sender: &str, dest: &str) -> Item {
    Item {
        id: id(n, rcpt),
        sender: sender.into(),
        dest: Arc::new(Dest { class: Class::Remote, name: dest.into() }),
        created: at(0).wall,
        ttl: Duration::from_secs(4 * DAY),
        tries: 0,
        last_try: 0,
        held: false,
    }
}

/// The next job as (message, recipients); it stays in work.
fn next(s: &mut Sched, now: Now) -> Option<(u64, Vec<u32>)> {
    s.next(now).map(|j| (j.qid.bits(), j.rcpts))
}

#[test]
fn retries_come_at_base_times_n_squared_until_the_time_is_over() {
    let mut s = sched();
    s.add(item(1, 1, "a", "d"), at(0));
    let (mut now, mut gaps) = (0, Vec::new());
    loop {
        let job = s.next(at(now)).unwrap();
        let next = s.defer(id(1, 1), true, at(now));
        s.ended(&job, at(now));
        let Next::Retry(wait) = next else { break };
        assert_eq!(s.sleep(at(now)), Some(wait));
        assert_eq!(s.next(at(now + wait.as_secs() as i64 - 1)), None);
        now += wait.as_secs() as i64;
        gaps.push(now);
    }
    assert_eq!(gaps[..5], [400, 1600, 3600, 6400, 10_000]);
    assert_eq!(now, 4 * DAY as i64, "one last attempt when the time is over");
    assert!(s.is_empty() && s.timers.is_empty() && s.ready.is_empty() && s.dests.is_empty());
}

#[test]
fn an_attempt_that_took_long_is_followed_by_the_next_time_that_has_not_passed() {
    let mut s = sched();
    s.add(item(1, 1, "a", "d"), at(0));
    let job = s.next(at(0)).unwrap();
    assert_eq!(s.defer(id(1, 1), true, at(3700)), Next::Retry(Duration::from_secs(2700)));
    s.ended(&job, at(3700));
}

#[test]
fn a_parked_recipient_stays_where_its_job_ends() {
    let mut s = sched();
    s.add(item(1, 1, "a", "d"), at(0));
    s.add(item(1, 2, "a", "e"), at(0));
    s.add(item(2, 1, "a", "f"), at(0));
    let job = s.next(at(0)).unwrap();
    assert_eq!(s.busy(id(1, 0).qid).collect::<Vec<_>>(), [1, 2], "one in work, one next");
    s.pause(Class::Remote, true);
    assert_eq!(s.busy(id(1, 0).qid).collect::<Vec<_>>(), [1], "nothing is next in a pause");
    s.pause(Class::Remote, false);
    s.park(id(1, 1));
    s.park(id(1, 2));
    assert_eq!(s.busy(id(1, 0).qid).collect::<Vec<_>>(), [2]);
    s.ended(&job, at(0));
    assert_eq!(s.standing(id(1, 1), at(0)), Some(Standing::InWork));
    assert!(!s.try_now(id(1, 1), at(0)));
    assert!(!s.is_over(id(1, 1), at(0)) && s.is_over(id(1, 1), at(4 * DAY as i64)));
    assert!(matches!(s.defer(id(1, 1), true, at(1)), Next::Retry(_)), "written down after all");
    assert_eq!(s.standing(id(1, 1), at(1)), Some(Standing::Waiting(399 * S)));
}

#[test]
fn recipients_of_one_message_and_destination_go_together_up_to_a_limit() {
    let mut s = sched();
    for (rcpt, dest) in [(1, "d"), (2, "e"), (3, "d"), (4, "d"), (5, "d")] {
        s.add(item(1, rcpt, "a", dest), at(0));
    }
    assert_eq!(next(&mut s, at(0)), Some((1, vec![1, 3, 4])));
    assert_eq!(next(&mut s, at(0)), Some((1, vec![2])));
    assert_eq!(next(&mut s, at(0)), Some((1, vec![5])));
    assert_eq!(next(&mut s, at(0)), None);
}

#[test]
fn a_sender_of_thousands_delays_another_by_one() {
    let mut s = sched();
    for n in 0..5000 {
        s.add(item(n, 1, "bulk", "d"), at(0));
    }
    s.add(item(9999, 1, "person", "d"), at(0));
    let mut order = Vec::new();
    for _ in 0..3 {
        let job = s.next(at(1)).unwrap();
        order.push(job.qid.bits());
        s.remove(Id { qid: job.qid, rcpt: 1 });
        s.ended(&job, at(1));
    }
    assert_eq!(order, [0, 9999, 1]);
}

#[test]
fn also_while_their_destination_is_busy_senders_take_turns() {
    let mut s = sched();
    (0..50).for_each(|n| s.add(item(n, 1, "bulk", "d"), at(0)));
    let first = s.next(at(0)).unwrap();
    s.next(at(0)).unwrap();
    assert_eq!(s.next(at(0)), None, "two jobs for one destination");
    s.add(item(99, 1, "person", "d"), at(0));
    assert_eq!(s.next(at(0)), None);
    s.remove(id(first.qid.bits(), 1));
    s.ended(&first, at(0));
    let second = s.next(at(0)).unwrap();
    s.remove(id(second.qid.bits(), 1));
    s.ended(&second, at(0));
    let third = s.next(at(0)).unwrap();
    assert!([second.qid.bits(), third.qid.bits()].contains(&99), "{second:?} {third:?}");
}

#[test]
fn jobs_in_work_are_bounded_by_destination_and_in_all() {
    let mut s = sched();
    for n in 0..30 {
        s.add(item(n, 1, "a", ["d", "e", "f"][n as usize % 3]), at(0));
    }
    let jobs: Vec<Job> = std::iter::from_fn(|| s.next(at(0))).collect();
    assert_eq!(jobs.len(), 4);
    for d in ["d", "e", "f"] {
        assert!(jobs.iter().filter(|j| j.dest.name == d).count() <= 2);
    }
    assert_eq!(s.jobs(Class::Remote), 4);
    for job in &jobs {
        s.remove(Id { qid: job.qid, rcpt: 1 });
        s.ended(job, at(0));
    }
    let mut done = 4;
    while let Some(job) = s.next(at(0)) {
        s.remove(Id { qid: job.qid, rcpt: 1 });
        s.ended(&job, at(0));
        done += 1;
    }
    assert_eq!((done, s.len(), s.jobs(Class::Remote)), (30, 0, 0));
    assert!(s.dests.is_empty() && s.ready.is_empty());
}

#[test]
fn recipients_that_a_job_left_out_are_tried_again_at_once() {
    let mut s = sched();
    s.add(item(1, 1, "a", "d"), at(0));
    s.add(item(1, 2, "a", "d"), at(0));
    let job = s.next(at(0)).unwrap();
    s.remove(id(1, 1));
    s.ended(&job, at(5));
    assert_eq!(next(&mut s, at(5)), Some((1, vec![2])));
}

#[test]
fn a_clock_that_jumps_expires_and_delays_nothing() {
    let mut s = sched();
    s.add(item(1, 1, "a", "d"), at(0));
    let job = s.next(at(0)).unwrap();
    let year_later = Now { wall: at(0).wall + 365 * DAY as i64 * S, mono: S };
    assert!(matches!(s.defer(id(1, 1), true, year_later), Next::Retry(d) if d.as_secs() == 399));
    s.ended(&job, year_later);
    // accepted in the future, last tried in the far future: the clock was wrong then
    let mut odd = item(2, 1, "a", "d");
    (odd.created, odd.last_try, odd.tries) = (at(9000).wall, at(99_999).wall, 1);
    s.add(odd, at(1));
    assert!(s.sleep(at(1)).unwrap() <= Duration::from_secs(400));
    // the clock is at 1970: it is tried, not forgotten
    let boot = Now { wall: 0, mono: 0 };
    let mut s = sched();
    s.add(item(3, 1, "a", "d"), boot);
    assert_eq!(next(&mut s, boot), Some((3, vec![1])));
}

#[test]
fn what_is_loaded_at_start_keeps_its_plan_and_an_old_message_gets_its_attempt() {
    let mut s = sched();
    let mut waits = item(1, 1, "a", "d");
    (waits.tries, waits.last_try) = (2, at(410).wall);
    s.add(waits, Now { wall: at(500).wall, mono: 0 });
    assert_eq!(s.sleep(at(0)), Some(Duration::from_secs(1100)));
    let mut old = item(2, 1, "a", "d");
    (old.tries, old.last_try) = (30, at(1000).wall);
    let start = Now { wall: at(10 * DAY as i64).wall, mono: 0 };
    s.add(old, start);
    let job = s.next(at(0)).unwrap();
    assert_eq!(job.qid.bits(), 2);
    assert_eq!(s.defer(id(2, 1), true, at(1)), Next::Expired);
    s.ended(&job, at(1));
    assert_eq!(s.len(), 1);
}

#[test]
fn a_destination_that_answers_again_gets_what_waits_for_it() {
    let mut s = sched();
    for n in 1..4 {
        s.add(item(n, 1, "a", "d"), at(0));
    }
    for _ in 0..3 {
        let job = s.next(at(0)).unwrap();
        s.defer(Id { qid: job.qid, rcpt: 1 }, true, at(0));
        s.ended(&job, at(0));
    }
    assert_eq!(s.next(at(1)), None);
    s.answered(&Arc::new(Dest { class: Class::Remote, name: "other".into() }), at(1));
    assert_eq!(s.next(at(1)), None);
    s.answered(&Arc::new(Dest { class: Class::Remote, name: "d".into() }), at(1));
    assert_eq!(next(&mut s, at(1)), Some((1, vec![1])));
    assert_eq!(next(&mut s, at(1)), Some((2, vec![1])));
}

#[test]
fn holds_releases_and_pauses() {
    let mut s = sched();
    let mut held = item(1, 1, "a", "d");
    held.held = true;
    s.add(held, at(0));
    s.add(item(2, 1, "a", "d"), at(0));
    assert_eq!(s.standing(id(1, 1), at(0)), Some(Standing::Held));
    assert!(s.hold(id(2, 1)));
    assert_eq!((s.next(at(9)), s.sleep(at(9))), (None, None));
    assert!(s.release(id(1, 1), at(9)) && !s.release(id(1, 1), at(9)));
    s.pause(Class::Remote, true);
    assert_eq!(s.next(at(9)), None);
    assert_eq!(s.standing(id(1, 1), at(9)), Some(Standing::Paused));
    s.pause(Class::Remote, false);
    let job = s.next(at(9)).unwrap();
    // held while in work: the job's end holds it
    assert!(s.hold(id(1, 1)));
    s.defer(id(1, 1), true, at(10));
    s.ended(&job, at(10));
    assert_eq!(s.standing(id(1, 1), at(10)), Some(Standing::Held));
    assert_eq!(s.next(at(DAY as i64)), None);
    // ready and then held: nothing is left of it in the ready jobs
    s.add(item(3, 1, "a", "d"), at(10));
    s.pause(Class::Remote, true);
    assert_eq!(s.next(at(10)), None);
    assert!(s.hold(id(3, 1)));
    s.pause(Class::Remote, false);
    assert_eq!(s.next(at(10)), None);
    assert!(!s.hold(id(77, 1)) && !s.try_now(id(3, 1), at(10)));
}

#[test]
fn what_is_taken_out_gets_no_job_and_comes_back_if_it_must() {
    let mut s = sched();
    s.add(item(1, 1, "a", "d"), at(0));
    s.add(Item { held: true, ..item(2, 1, "a", "e") }, at(0));
    assert!(s.withdraw(id(1, 1)) && s.withdraw(id(2, 1)));
    assert!(!s.withdraw(id(1, 1)), "it is on its way");
    assert_eq!(s.next(at(1)), None);
    // It could not be written down.
    s.defer(id(1, 1), false, at(1));
    s.defer(id(2, 1), false, at(1));
    assert_eq!(s.standing(id(2, 1), at(1)), Some(Standing::Held));
    let job = s.next(at(1000)).unwrap();
    assert!(!s.withdraw(id(1, 1)), "a job has it");
    s.remove(id(1, 1));
    s.ended(&job, at(1000));
    assert!(s.withdraw(id(2, 1)));
    s.remove(id(2, 1));
    assert!(s.is_empty() && s.timers.is_empty() && s.ready.is_empty() && s.dests.is_empty());
}

#[test]
fn another_ttl_counts_for_what_waits() {
    let mut s = sched();
    s.add(item(1, 1, "a", "d"), at(0));
    let job = s.next(at(0)).unwrap();
    s.defer(id(1, 1), true, at(0));
    s.ended(&job, at(0));
    s.keep_for(id(1, 1), Duration::from_secs(100), at(10));
    assert_eq!(s.sleep(at(10)), Some(Duration::from_secs(90)), "one last attempt");
    let job = s.next(at(100)).unwrap();
    assert_eq!(s.defer(id(1, 1), true, at(100)), Next::Expired);
    s.ended(&job, at(100));
    s.add(item(2, 1, "a", "d"), at(0));
    let job = s.next(at(0)).unwrap();
    s.keep_for(id(2, 1), Duration::from_secs(7 * DAY), at(10));
    let five = at(5 * DAY as i64);
    assert!(matches!(s.defer(id(2, 1), true, five), Next::Retry(_)));
    s.ended(&job, five);
}

#[test]
fn a_random_course_of_events_loses_nothing_and_keeps_its_bounds() {
    let mut seed = 7u64;
    let mut random = |n: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % n
    };
    let mut s = sched();
    let (mut jobs, mut left, mut now) = (Vec::<Job>::new(), 0usize, 0i64);
    for n in 0..3000u64 {
        match random(5) {
            0 | 1 => {
                for rcpt in 1..=1 + random(4) as u32 {
                    let dest = ["d", "e", "f"][random(3) as usize];
                    s.add(item(n, rcpt, ["a", "b"][random(2) as usize], dest), at(now));
                    left += 1;
                }
            }
            2 => jobs.extend(s.next(at(now))),
            3 if !jobs.is_empty() => {
                let job = jobs.swap_remove(random(jobs.len() as u64) as usize);
                for rcpt in &job.rcpts {
                    let id = Id { qid: job.qid, rcpt: *rcpt };
                    match random(3) {
                        0 => {
                            s.remove(id);
                            left -= 1;
                        }
                        1 if s.defer(id, true, at(now)) == Next::Expired => left -= 1,
                        _ => {}
                    }
                }
                s.ended(&job, at(now));
            }
            _ => now += random(1000) as i64,
        }
        assert_eq!(s.len(), left);
        assert!(s.jobs(Class::Remote) == jobs.len() && jobs.len() <= 4);
    }
    for job in jobs.drain(..) {
        s.ended(&job, at(now));
    }
    now += 5 * DAY as i64;
    while let Some(job) = s.next(at(now)) {
        for rcpt in &job.rcpts {
            s.remove(Id { qid: job.qid, rcpt: *rcpt });
            left -= 1;
        }
        s.ended(&job, at(now));
    }
    assert_eq!((left, s.len()), (0, 0));
    assert!(s.dests.is_empty() && s.ready.is_empty() && s.timers.is_empty());
}
