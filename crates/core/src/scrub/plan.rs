//! How much is to be read when, so that every package is read again within the period, and no day has more to do than
//! another. Pure: a test goes through years of it.
//!
//! What has to be read by when is known in slots, a hundredth of the period each. The rate is the least with which nothing
//! comes too late: for each point in time, all that is due until then, divided by the time that is left. When all goes well
//! that is everything, divided by the period; after a standstill, or when much was taken in at once, the rest is spread
//! evenly over the time that there is. Three slots are kept back for packages that take long; what comes into the last two is
//! read whatever else was read on that day.

use std::time::Duration;

use crate::db::checks::Slot;
use crate::time::Timestamp;

/// Opening a package costs about as much as reading so many bytes.
pub const PACKAGE_BYTES: u64 = 64 << 10;
/// The day, by whose slices the work is paced.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// Into how many slots the period is divided.
const SLOTS: u32 = 100;
/// How many of them are kept back.
const KEPT_BACK: u32 = 3;
/// How much of a day's slice may be left undone while orders are worked on: a twenty-fourth.
const PATIENCE: u64 = 24;

/// What packages cost that have so many bytes together.
pub fn weight(packages: u64, bytes: u64) -> u64 {
    bytes.saturating_add(packages.saturating_mul(PACKAGE_BYTES))
}

/// The length of a slot.
pub fn slot_length(period: Duration) -> Duration {
    (period / SLOTS).max(Duration::from_secs(1))
}

/// Within which time packages are read again when nothing comes in between.
fn aim(period: Duration) -> Duration {
    period.saturating_sub(slot_length(period) * KEPT_BACK).max(slot_length(period))
}

/// Whether a package whose period runs from `since` is to be read whatever else was read today.
pub fn is_pressing(since: Timestamp, now: Timestamp, period: Duration) -> bool {
    now >= since.plus(aim(period)).plus(slot_length(period))
}

/// What was read, or taken in, within a slot is not read again; how long it is let alone yet.
pub fn is_fresh(since: Timestamp, now: Timestamp, period: Duration) -> Option<Duration> {
    let rest = since.plus(slot_length(period)).since(now);
    (!rest.is_zero()).then_some(rest)
}

/// How much is to be read on a day, as things stand.
pub fn daily(slots: &[Slot], now: Timestamp, period: Duration) -> u64 {
    let (slot, aim) = (slot_length(period), aim(period));
    let per_day = |weight: u64, time: Duration| {
        let rate = u128::from(weight).saturating_mul(DAY.as_micros()).div_ceil(time.as_micros().max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    let (mut due, mut rate) = (0_u64, 0);
    for found in slots {
        due = due.saturating_add(weight(found.packages, found.bytes));
        let left = found.until.plus(aim).since(now).max(slot);
        rate = per_day(due, left).max(rate);
    }
    per_day(due, aim).max(rate)
}

/// When today began, in UTC.
pub fn day_of(now: Timestamp) -> Timestamp {
    let day = i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
    Timestamp(now.0.div_euclid(day).saturating_mul(day))
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The next package is to be read.
    Go {
        /// So much behind that orders are not waited for.
        behind: bool,
    },
    /// Today's slice is done so far; some of it is due again after that time.
    Rest(Duration),
}

/// Whether the next package's turn has come, when so much of a day's slice is done.
pub fn pace(daily: u64, done: u64, now: Timestamp) -> Pace {
    let elapsed = now.since(day_of(now));
    let share = u128::from(daily).saturating_mul(elapsed.as_micros()) / DAY.as_micros();
    let share = u64::try_from(share).unwrap_or(u64::MAX);
    if done < share {
        return Pace::Go { behind: share - done > daily / PATIENCE };
    }
    let rest = u128::from(done - share + 1).saturating_mul(DAY.as_micros()).div_ceil(u128::from(daily.max(1)));
    let rest = Duration::from_micros(u64::try_from(rest).unwrap_or(u64::MAX));
    // A new day begins with nothing done.
    Pace::Rest(rest.min(DAY.saturating_sub(elapsed)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    /// 2026-01-01T00:00:00Z.
    const START: Timestamp = Timestamp(1_767_225_600_000_000);

    /// Packages, each with the time from which its period runs and its bytes, and a process that looks every hour.
    struct Archive {
        period: Duration,
        packages: Vec<(Timestamp, u64)>,
        now: Timestamp,
        done: u64,
        /// What was read on each day.
        days: BTreeMap<Timestamp, u64>,
        /// The longest time between two reads of a package.
        longest: Duration,
    }

    impl Archive {
        fn new(period: Duration, packages: Vec<(Timestamp, u64)>) -> Archive {
            Archive { period, packages, now: START, done: 0, days: BTreeMap::new(), longest: Duration::ZERO }
        }

        fn total(&self) -> u64 {
            self.packages.iter().map(|(_, bytes)| weight(1, *bytes)).sum()
        }

        fn slots(&self) -> Vec<Slot> {
            let length = i64::try_from(slot_length(self.period).as_micros()).expect("short");
            let mut slots: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
            for (since, bytes) in &self.packages {
                let slot = slots.entry(since.0.div_euclid(length)).or_default();
                *slot = (slot.0 + 1, slot.1 + bytes);
            }
            let slot = |(slot, (packages, bytes))| Slot { until: Timestamp((slot + 1) * length), packages, bytes };
            slots.into_iter().map(slot).collect()
        }

        /// An hour of a process that runs, or does not.
        fn hour(&mut self, running: bool) {
            let day = day_of(self.now);
            self.now = self.now.plus(HOUR);
            if day_of(self.now) != day {
                self.done = 0;
            }
            let daily = daily(&self.slots(), self.now, self.period);
            if !running {
                return;
            }
            loop {
                let (now, period) = (self.now, self.period);
                let Some((since, bytes)) = self.packages.iter_mut().min_by_key(|(since, _)| *since) else { break };
                let may = is_pressing(*since, now, period) || matches!(pace(daily, self.done, now), Pace::Go { .. });
                if is_fresh(*since, now, period).is_some() || !may {
                    break;
                }
                self.longest = self.longest.max(now.since(*since));
                *since = now;
                let cost = weight(1, *bytes);
                self.done += cost;
                *self.days.entry(day_of(now)).or_default() += cost;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        /// However large they are and whenever they were taken in, all are read within the period, and again.
        #[test]
        fn every_package_is_read_within_the_period(
            days in 7_u32..100,
            sizes in prop::collection::vec((0_u64..1 << 36, 0_u32..100), 1..40),
            standstill in 0_u32..60,
        ) {
            let period = DAY * days;
            let taken_in = |(bytes, percent): (u64, u32)| (START.minus(period * percent / 130), bytes);
            let mut archive = Archive::new(period, sizes.into_iter().map(taken_in).collect());
            for hour in 0..days * 24 * 2 {
                // A process that is off on some days catches up on the others.
                let off = hour / 24 % 7 == 3 && standstill > 30 && days >= 40;
                archive.hour(!off);
            }
            prop_assert!(archive.longest <= period, "{:?} of {period:?}", archive.longest);
            let unread = archive.packages.iter().map(|(since, _)| archive.now.since(*since)).max();
            prop_assert!(unread <= Some(period), "{unread:?}");
        }

        /// Much that is taken in at once does not come due at once.
        #[test]
        fn each_day_has_the_same_to_do(days in 10_u32..100, count in 1_usize..200, bytes in 0_u64..1 << 40) {
            let period = DAY * days;
            let mut archive = Archive::new(period, vec![(START, bytes); count]);
            for _ in 0..days * 24 * 2 {
                archive.hour(true);
            }
            let one = weight(1, bytes);
            // What is kept back makes the slices that much larger.
            let slice = archive.total() / u64::from(days) * 104 / 100;
            for (day, read) in &archive.days {
                prop_assert!(*read <= slice + 2 * one, "{day:?}: {read} of {slice}");
            }
            prop_assert!(archive.longest <= period);
        }
    }

    #[test]
    fn what_was_missed_is_spread_over_the_time_that_is_left() {
        let period = DAY * 90;
        let mut archive = Archive::new(period, (0..900).map(|n| (START.minus(HOUR * 2 * n), 1 << 30)).collect());
        (0..24 * 3).for_each(|_| archive.hour(true));
        let usual = archive.days.values().copied().max().expect("some");
        // Off for ten days.
        (0..24 * 10).for_each(|_| archive.hour(false));
        archive.days.clear();
        (0..24 * 30).for_each(|_| archive.hour(true));
        let after = archive.days.values().copied().max().expect("some");
        assert!(after > usual && after < usual * 3, "{after} {usual}");
        assert!(archive.longest <= period);
    }

    #[test]
    fn a_day_is_paced_from_its_beginning_to_its_end() {
        let noon = START.plus(HOUR * 12);
        let table = [
            (START, 0, Pace::Rest(Duration::from_micros(86_400))),
            (noon, 0, Pace::Go { behind: true }),
            (noon, 499_000, Pace::Go { behind: false }),
            (noon, 499_999, Pace::Go { behind: false }),
            (noon, 500_000, Pace::Rest(Duration::from_micros(86_400))),
            // Not longer than until the next day.
            (noon, 5_000_000, Pace::Rest(HOUR * 12)),
        ];
        for (now, done, expected) in table {
            let found = pace(1_000_000, done, now);
            assert_eq!(found, expected, "{now} {done}");
        }
        assert_eq!(pace(0, 0, noon), Pace::Rest(HOUR * 12));
        assert_eq!(daily(&[], START, DAY * 90), 0);
    }
}
