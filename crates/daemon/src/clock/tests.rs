use tokio::time::{advance, sleep};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ms(at: i64) -> Timestamp {
    Timestamp::from_millis(at)
}

#[tokio::test(start_paused = true)]
async fn sleeps_until_a_moment_and_not_at_all_for_a_past_one() {
    let clock = Clock::starting_at(ms(1_000));
    clock.sleep_until(ms(500)).await;
    assert_eq!(clock.now(), ms(1_000));
    clock.sleep_until(ms(4_500)).await;
    assert_eq!(clock.now(), ms(4_500));
}

#[tokio::test(start_paused = true)]
async fn is_set_at_the_start_and_never_before_what_was_stamped() {
    let clock = Clock::starting_at(ms(1_000));
    advance(Duration::from_millis(40)).await;
    clock.set(ms(1_000), ms(600_020));
    assert_eq!(clock.now(), ms(600_040), "the reading is of half-way");
    clock.not_before(ms(600_000));
    assert_eq!(clock.now(), ms(600_040));
    clock.not_before(ms(700_000));
    assert_eq!(clock.now(), ms(700_000));
    clock.sleep_until(ms(701_000)).await;
    assert_eq!(clock.now(), ms(701_000));
}

/// A clock that follows another: one that is `offset_ms` ahead and runs `drift_ppm` faster, read once a second for so
/// many seconds. Returns the offset at the end, and the widest in its last quarter, after all its times were seen to rise.
async fn follow(offset_ms: i64, drift_ppm: i64, seconds: i64, delay: impl Fn(i64) -> u64) -> (i64, i64) {
    let clock = Clock::starting_at(ms(1_700_000_000_000));
    let started = Instant::now();
    let theirs = || {
        let elapsed = started.elapsed().as_micros() as i64;
        ms(1_700_000_000_000 + offset_ms + (elapsed + elapsed * drift_ppm / 1_000_000) / 1_000)
    };
    let (mut last, mut widest) = (clock.now(), 0);
    for second in 0..seconds {
        let sent = clock.now();
        let delay = Duration::from_millis(delay(second));
        // All of the delay is on the way back: the worst case for whoever takes half of it.
        let said = theirs();
        sleep(delay).await;
        clock.follow(sent, said);
        sleep(SECOND - delay).await;
        let now = clock.now();
        let passed = now.since(last).as_millis();
        assert!((994..=1_006).contains(&passed), "a second took {passed} ms");
        last = now;
        if second > seconds * 3 / 4 {
            widest = widest.max((theirs().as_millis() - now.as_millis()).abs());
        }
    }
    (theirs().as_millis() - clock.now().as_millis(), widest)
}

#[tokio::test(start_paused = true)]
async fn follows_another_clock_without_a_jump() {
    let quick = |_| 1;
    let (end, widest) = follow(900, 0, 600, quick).await;
    assert!(end.abs() <= 4 && widest <= 4, "a second is made up for: {end}, {widest}");
    let (end, widest) = follow(-900, 0, 600, quick).await;
    assert!(end.abs() <= 4 && widest <= 4, "{end}, {widest}");
    for drift in [500, -500] {
        let (end, widest) = follow(0, drift, 900, quick).await;
        assert!(end.abs() <= 15 && widest <= 15, "a drift of {drift} ppm stays within {widest} ms, ends at {end}");
    }
    // Ten minutes are too much to make up for soon: what counts is that times rise evenly.
    let (end, _) = follow(600_000, 0, 1_000, quick).await;
    assert!((594_900..595_100).contains(&end), "{end}");
}

#[tokio::test(start_paused = true)]
async fn believes_the_readings_that_took_least() {
    let uneven = |second: i64| if second % 5 == 0 { 2 } else { 300 + second.unsigned_abs() % 7 * 90 };
    let (end, widest) = follow(200, 0, 600, uneven).await;
    assert!(end.abs() <= 6 && widest <= 6, "{end}, {widest}");
}

#[tokio::test(start_paused = true)]
async fn sleeps_until_its_own_time_while_it_slews() {
    for offset in [3_600_000, -3_600_000] {
        let clock = Clock::starting_at(ms(0));
        clock.follow(ms(0), ms(offset));
        assert_eq!(clock.offset_ms(), Some(offset));
        let begun = Instant::now();
        clock.sleep_until(ms(100_000)).await;
        let now = clock.now().as_millis();
        assert!((100_000..100_600).contains(&now), "{now}");
        let took = begun.elapsed().as_millis() as i64;
        assert!((took - 100_000 + offset.signum() * 500).abs() <= 600, "{took}");
    }
}
