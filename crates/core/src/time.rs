//! Time: microseconds since 1970 in UTC, and the clock that the rest of the crate asks.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use ::time::OffsetDateTime;

use crate::db::{Database, DatabaseError};

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The time that the system's clock shows.
    pub fn now() -> Timestamp {
        Timestamp::from(OffsetDateTime::now_utc())
    }

    /// This time and a duration.
    pub fn plus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This time less a duration.
    pub fn minus(self, duration: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The duration from `earlier` to this time, zero if that is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds since 1970, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The calendar time in UTC; times outside the years of the calendar become its first.
    pub fn to_datetime(self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Timestamp {
        Timestamp(i64::try_from(time.unix_timestamp_nanos().div_euclid(1000)).unwrap_or(i64::MAX))
    }
}

/// RFC 3339 with microseconds and an explicit offset, such as `2026-01-31T12:00:00.000001+00:00`.
impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.to_datetime();
        write!(
            formatter,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}+00:00",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.microsecond()
        )
    }
}

/// Where the present time comes from: the system, set by the clock of a database that several machines share, or a
/// hand that is moved by a test.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    hand: Option<Arc<AtomicI64>>,
    /// How far the database's clock is ahead of the system's, in microseconds.
    ahead: Arc<AtomicI64>,
}

/// How often the database's clock is read to set one's own: the quickest answer is the most exact.
const READINGS: usize = 3;

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock::default()
    }

    /// A clock that stands still at `start` until it is moved.
    pub fn standing(start: Timestamp) -> Clock {
        Clock { hand: Some(Arc::new(AtomicI64::new(start.0))), ahead: Arc::default() }
    }

    /// Moves a standing clock forward; the system's clock cannot be moved.
    pub fn advance(&self, duration: Duration) {
        if let Some(hand) = &self.hand {
            hand.fetch_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        match &self.hand {
            Some(hand) => Timestamp(hand.load(Ordering::SeqCst)),
            None => Timestamp(Timestamp::now().0.saturating_add(self.ahead.load(Ordering::Relaxed))),
        }
    }

    /// Sets the clock by the database's, if that is shared: leases are compared between machines. A standing clock
    /// stays as it is.
    pub async fn follow(&self, database: &Database) -> Result<(), DatabaseError> {
        let mut best: Option<(Duration, i64)> = None;
        for _ in 0..READINGS {
            let (began, before) = (Instant::now(), Timestamp::now());
            let Some(shown) = database.now().await? else {
                return Ok(());
            };
            let took = began.elapsed();
            if best.is_none_or(|(least, _)| took < least) {
                best = Some((took, shown.0.saturating_sub(before.plus(took / 2).0)));
            }
        }
        if let Some((_, ahead)) = best {
            self.ahead.store(ahead, Ordering::Relaxed);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_microseconds_and_offset() {
        let table = [
            (0, "1970-01-01T00:00:00.000000+00:00"),
            (1_757_417_696_123_456, "2025-09-09T11:34:56.123456+00:00"),
            (-1, "1969-12-31T23:59:59.999999+00:00"),
        ];
        for (micros, expected) in table {
            assert_eq!(Timestamp(micros).to_string(), expected);
            assert_eq!(Timestamp::from(Timestamp(micros).to_datetime()), Timestamp(micros));
        }
    }
}
