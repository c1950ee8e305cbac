//! Progress on a terminal; nothing where standard error is not one.

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const BYTES: &str = "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
const UNKNOWN: &str = "{spinner} {msg}";

/// A bar for a number of bytes.
pub(crate) fn bytes(total: u64, message: impl Into<String>) -> ProgressBar {
    let bar = styled(ProgressBar::new(total), BYTES);
    bar.set_message(message.into());
    bar
}

/// A spinner for work whose end is not known.
pub(crate) fn spinner(message: impl Into<String>) -> ProgressBar {
    let bar = styled(ProgressBar::new_spinner(), UNKNOWN);
    bar.set_message(message.into());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    let target =
        if stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(10) } else { ProgressDrawTarget::hidden() };
    bar.set_draw_target(target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
