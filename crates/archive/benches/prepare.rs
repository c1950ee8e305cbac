//! What preparing a package costs: memory, the speed of one large file, and the speed of many small ones.
//!
//! Run by hand with `cargo bench -p dipper-archive --bench prepare`. It writes some 6 GB under `target/bench-prepare`
//! once, and prints each figure beside the bound that it must keep. The words `memory`, `large` and `small` after
//! `--` choose parts of it.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark prints, may end where it stands, and lays out files that need not survive a power cut"
)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use dipper_archive::digest::{Algorithm, Digest, Hasher};
use dipper_archive::package::{Content, Control, Form, Layout, Options, prepare};
use dipper_archive::storage::LocalStorage;

const GIB: u64 = 1 << 30;
const RUNS: usize = 5;
const MEMORY_BOUND_MIB: u64 = 150;
const SPEED_BOUND: f64 = 0.85;
const SMALL_BOUND: f64 = 3.0;
const SMALL_FILES: usize = 100_000;
const SMALL_BYTES: usize = 4096;

/// Set for a child process, which prepares one package and prints its peak memory.
const CASE: &str = "DIPPER_BENCH_CASE";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench-prepare");
    if let Ok(case) = std::env::var(CASE) {
        measure_memory(&root, &case);
        return;
    }
    std::fs::create_dir_all(&root).expect("a directory under target/");
    make_large(&root, "large-4", 4 * GIB);
    make_large(&root, "large-1", GIB);
    make_small(&root);
    let chosen = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect::<Vec<_>>();
    let wanted = |part: &str| chosen.is_empty() || chosen.iter().any(|argument| argument == part);
    if wanted("memory") {
        memory();
    }
    if wanted("large") {
        large_file(&root);
    }
    if wanted("small") {
        small_files(&root);
    }
}

fn memory() {
    println!("peak memory (VmHWM) of a process that prepares; bound {MEMORY_BOUND_MIB} MiB");
    for (case, what) in [("large-4", "one file of 4 GiB"), ("small", "100,000 files of 4 KiB")] {
        for checksum in ["md5", "sha512"] {
            let this = std::env::current_exe().expect("this program");
            let output = Command::new(this).env(CASE, format!("{case} {checksum}")).output().expect("a child");
            let text = String::from_utf8_lossy(&output.stdout);
            let kib: u64 = text.trim().parse().unwrap_or_else(|_| panic!("{text} {output:?}"));
            println!("  {what}, {checksum}: {} MiB {}", kib / 1024, verdict(kib / 1024 <= MEMORY_BOUND_MIB));
        }
    }
}

fn measure_memory(root: &Path, case: &str) {
    let (files, checksum) = case.split_once(' ').expect("two words");
    let contents = if files == "small" { small(root, SMALL_FILES) } else { vec![large(root, files)] };
    run(root, contents, Algorithm::from_name(checksum).expect("a checksum"));
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    println!("{}", peak.trim_end_matches("kB").trim());
}

/// The measure is the slower of the two digests that are needed, alone on the machine and with nothing to read. The
/// second figure has both digests beside each other as its measure, each on a core of its own: what is missing to it is
/// what reading and passing on costs; what is missing between the two is what the cores take from each other.
fn large_file(root: &Path) {
    println!("one file of 1 GiB: speed as a part of the slowest needed digest on one core; bound {SPEED_BOUND}");
    let block = noise(1, 256 << 10);
    for checksum in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512] {
        let (mut ratios, mut beside_ratios, mut speeds) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let block = &block;
            let both = [checksum, Algorithm::Sha512];
            let alone =
                both.map(|algorithm| seconds(|| digest_alone(algorithm, block))).into_iter().fold(0.0, f64::max);
            let whole = seconds(|| run(root, vec![large(root, "large-1")], checksum));
            let beside = seconds(|| {
                std::thread::scope(|scope| {
                    for algorithm in both {
                        scope.spawn(move || digest_alone(algorithm, block));
                    }
                });
            });
            ratios.push(alone / whole);
            beside_ratios.push(beside / whole);
            speeds.push(GIB as f64 / 1e6 / whole);
        }
        let (ratio, beside, speed) = (median(&mut ratios), median(&mut beside_ratios), median(&mut speeds));
        let verdict = verdict(ratio >= SPEED_BOUND);
        println!(
            "  checksum {checksum}: {ratio:.2} ({speed:.0} MB/s) {verdict}; of both beside each other {beside:.2}"
        );
    }
}

fn digest_alone(algorithm: Algorithm, block: &[u8]) {
    let mut hasher = Hasher::new(algorithm);
    (0..GIB / block.len() as u64).for_each(|_| hasher.update(block));
    std::hint::black_box(hasher.finish());
}

fn small_files(root: &Path) {
    const COUNT: usize = 50_000;
    println!("50,000 files of 4 KiB: time as a multiple of `xargs sha512sum`; bound {SMALL_BOUND}");
    let list = small_paths().take(COUNT).fold(String::new(), |mut list, path| {
        let _ = write!(list, "{}\0", root.join(path).display());
        list
    });
    let peer = || {
        let mut command = Command::new("xargs");
        let mut child =
            command.args(["-0", "sha512sum"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("xargs");
        child.stdin.take().expect("a pipe").write_all(list.as_bytes()).expect("the list");
        assert!(child.wait().expect("xargs").success());
    };
    let contents = small(root, COUNT);
    for checksum in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512] {
        let (mut ratios, mut times) = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            let theirs = seconds(peer);
            let ours = seconds(|| run(root, contents.clone(), checksum));
            ratios.push(ours / theirs);
            times.push(ours);
        }
        let ratio = median(&mut ratios);
        let time = median(&mut times);
        println!("  checksum {checksum}: {ratio:.2} ({time:.2} s) {}", verdict(ratio <= SMALL_BOUND));
    }
}

fn run(root: &Path, contents: Vec<Content>, checksum: Algorithm) {
    let storage = LocalStorage::open(root).expect("a storage");
    let layout = Layout::new("package", Form::Bag { info: Vec::new() }, contents, 0).expect("a layout");
    prepare(&layout, &storage, &Options::new(checksum), Control::default(), None).expect("a package");
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn verdict(kept: bool) -> &'static str {
    if kept { "kept" } else { "BROKEN" }
}

fn content(location: String, size: u64, digest: Digest) -> Content {
    Content { logical_path: location.clone(), size, digest, algorithm: Algorithm::Sha512, location }
}

/// A large file that [`make_large`] wrote.
fn large(root: &Path, name: &str) -> Content {
    let size = std::fs::metadata(root.join(name)).expect("a file").len();
    let digest = std::fs::read_to_string(root.join(name).with_extension("sha512")).expect("its digest");
    content(name.to_owned(), size, digest.parse().expect("a digest"))
}

fn make_large(root: &Path, name: &str, size: u64) {
    let sidecar = root.join(name).with_extension("sha512");
    if sidecar.exists() {
        return;
    }
    println!("writing {name}");
    let mut file = std::fs::File::create(root.join(name)).expect("a file");
    let mut hasher = Hasher::new(Algorithm::Sha512);
    let mut block = noise(2, 1 << 20);
    for number in 0..size >> 20 {
        block.get_mut(..8).expect("a block").copy_from_slice(&number.to_le_bytes());
        hasher.update(&block);
        file.write_all(&block).expect("room on the disk");
    }
    std::fs::write(sidecar, hasher.finish().to_string()).expect("a file");
}

fn small_paths() -> impl Iterator<Item = String> {
    (0..SMALL_FILES).map(|number| format!("small/{:03}/page-{number:06}.tif", number / 1000))
}

fn small(root: &Path, count: usize) -> Vec<Content> {
    let digests = std::fs::read_to_string(root.join("small.sha512")).expect("the digests");
    let digests = digests.lines().map(|line| line.parse().expect("a digest"));
    small_paths().zip(digests).take(count).map(|(path, digest)| content(path, SMALL_BYTES as u64, digest)).collect()
}

fn make_small(root: &Path) {
    let sidecar: PathBuf = root.join("small.sha512");
    if sidecar.exists() {
        return;
    }
    println!("writing {SMALL_FILES} small files");
    let mut digests = String::new();
    for (number, path) in small_paths().enumerate() {
        let path = root.join(path);
        if number.is_multiple_of(1000) {
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        }
        let bytes = noise(number as u64, SMALL_BYTES);
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(&bytes);
        let _ = writeln!(digests, "{}", hasher.finish());
        std::fs::write(path, bytes).expect("a file");
    }
    std::fs::write(sidecar, digests).expect("a file");
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}
