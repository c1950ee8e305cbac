//! What the catalogue knows, read when somebody asks and kept for a while, so that asking often costs the database
//! little.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dipper_core::installation::Installation;
use dipper_core::meter::{self, CATALOGUE};
use tokio::sync::Mutex;

use super::{passing_recorder, process};

/// How long what was read is shown again at the least, and how many times longer than reading it took: the
/// database works at most a twentieth of its time for this.
const KEPT: Duration = Duration::from_secs(5);
const KEPT_TIMES: u32 = 20;
/// How long the catalogue may take to answer. Whoever asks gives up at ten seconds, usually.
const LONGEST: Duration = Duration::from_secs(8);

/// Reads the catalogue for whoever asks.
pub(super) struct Snapshots {
    installation: Arc<Installation>,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    until: Instant,
    text: String,
}

impl Snapshots {
    pub(super) fn new(installation: Arc<Installation>) -> Snapshots {
        Snapshots { installation, kept: Mutex::new(None) }
    }

    /// The figures of the catalogue and of the process, in the text format. Those who ask at the same time wait for
    /// one reading.
    pub(super) async fn text(&self) -> String {
        let mut kept = self.kept.lock().await;
        let began = Instant::now();
        let catalogue = match kept.as_ref().filter(|kept| began < kept.until) {
            Some(kept) => kept.text.clone(),
            None => {
                let text = self.catalogue().await;
                let until = Instant::now() + KEPT.max(began.elapsed() * KEPT_TIMES);
                *kept = Some(Kept { until, text: text.clone() });
                text
            }
        };
        drop(kept);
        let recorder = passing_recorder(process::METRICS);
        metrics::with_local_recorder(&recorder, || {
            process::read();
        });
        catalogue + &recorder.handle().render()
    }

    async fn catalogue(&self) -> String {
        let read = tokio::time::timeout(LONGEST, meter::read(&self.installation)).await;
        let found = match read {
            Ok(Ok(found)) => Some(found),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the catalogue could not be read for the metrics");
                None
            }
            Err(_) => {
                tracing::warn!(seconds = LONGEST.as_secs(), "the catalogue did not answer in time for the metrics");
                None
            }
        };
        let recorder = passing_recorder(CATALOGUE);
        metrics::with_local_recorder(&recorder, || meter::tell(found.as_ref()));
        recorder.handle().render()
    }
}
