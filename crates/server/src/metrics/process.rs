//! What the system knows of this process. The names are those that every Prometheus client uses.

use std::sync::OnceLock;

use dipper_archive::meter::Metric;
use metrics::gauge;

const BUILD: Metric = Metric::gauge("dipper_build_info", &["version"], "Always 1; the label tells the version.");
const START: Metric =
    Metric::gauge("process_start_time_seconds", &[], "When this process was started, in seconds since 1970.");
const MEMORY: Metric = Metric::gauge("process_resident_memory_bytes", &[], "Memory of this process that is in RAM.");
const FILES: Metric = Metric::gauge("process_open_fds", &[], "File descriptors that this process has open.");
const FILES_MOST: Metric = Metric::gauge("process_max_fds", &[], "File descriptors that this process may have open.");
const CPU: Metric =
    Metric::counter("process_cpu_seconds_total", &[], "Time that this process spent on processors, whole seconds.");

/// The figures of this file.
pub(super) const METRICS: &[Metric] = &[BUILD, START, MEMORY, FILES, FILES_MOST, CPU];

/// Hands what the system says to the recorder in force. What it does not say is left out.
pub(super) fn read() {
    gauge!(BUILD.name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = rustix::param::clock_ticks_per_second();
    // proc_pid_stat(5): the second field is a name in parentheses, which may hold anything.
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    // Counted from the third field, which comes first here.
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        metrics::counter!(CPU.name).absolute((user + system) / ticks.max(1));
    }
    if let Some(pages) = field(24) {
        gauge!(MEMORY.name).set(pages as f64 * rustix::param::page_size() as f64);
    }
    if let (Some(started), Some(booted)) = (field(22), booted()) {
        gauge!(START.name).set(booted as f64 + started as f64 / ticks.max(1) as f64);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        // One of them is the directory that is being read.
        gauge!(FILES.name).set(open.count().saturating_sub(1) as f64);
    }
    if let Some(most) = rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        gauge!(FILES_MOST.name).set(most as f64);
    }
}

/// When this machine was started, in seconds since 1970.
fn booted() -> Option<u64> {
    static BOOTED: OnceLock<Option<u64>> = OnceLock::new();
    *BOOTED.get_or_init(|| {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
    })
}
