//! A short fuzz run on stable Rust: the targets of `fuzz/`, fed with seeded mutations of small valid
//! inputs. The same seed gives the same inputs, so a failure is found again by its numbers.
//!
//! `ZABKEEPER_FUZZ_ITERATIONS` (per target) and `ZABKEEPER_FUZZ_SEED` make it longer or different;
//! `ZABKEEPER_FUZZ_CORPUS=fuzz/corpus` makes it write the valid inputs there for `cargo fuzz run`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: failing is its work")]

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

#[path = "../../fuzz/src/lib.rs"]
mod targets;

use targets::{TARGETS, Target};

const ITERATIONS: u64 = 10_000;

/// Address space that a run may add: a length from the input that is taken for a size to allocate
/// shows as a failed allocation.
const ADDRESS_SPACE_BYTES: u64 = 1 << 30;

/// xorshift64*: small, seeded, good enough for picking bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}

/// One to four changes of the kinds that break readers.
fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    const NUMBERS: [i32; 10] =
        [0, 1, -1, -2, 16, 0xf_ffff, 0x10_0000, i32::MAX, i32::MIN, i32::MAX - 12];
    for _ in 0..1 + random.below(4) {
        let at = random.below(bytes.len());
        match random.below(9) {
            _ if bytes.is_empty() => bytes.push(random.next() as u8),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes[at] = [0, 1, 0x2f, 0x7f, 0x80, 0xff][random.below(6)],
            3 => bytes.truncate(at),
            4 => bytes.insert(at, random.next() as u8),
            5 => drop(bytes.remove(at)),
            // A length or a number, where one is likely to stand.
            6 | 7 => {
                let at = if random.below(2) == 0 { at } else { at & !3 };
                let number = NUMBERS[random.below(NUMBERS.len())].to_be_bytes();
                for (to, from) in bytes.iter_mut().skip(at).zip(number) {
                    *to = from;
                }
            }
            // The end of another input.
            _ => {
                let other = &seeds[random.below(seeds.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[random.below(other.len())..]);
            }
        }
        bytes.truncate(64 * 1024);
    }
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .map_or(default, |text| text.parse().unwrap_or_else(|e| panic!("{name}: {e}")))
}

fn run(target: &Target) {
    limit_address_space();
    let iterations = number_from_environment("ZABKEEPER_FUZZ_ITERATIONS", ITERATIONS);
    let seed = number_from_environment("ZABKEEPER_FUZZ_SEED", 1);
    let seeds = (target.seeds)();
    let check = |input: &[u8], number: u64| {
        let failed = catch_unwind(|| (target.run)(input)).is_err();
        assert!(!failed, "{} seed {seed} input {number}: {}", target.name, hex(input));
    };
    for (n, input) in seeds.iter().enumerate() {
        check(input, n as u64);
    }
    for number in 0..iterations {
        // Each input has a generator of its own, so that one can be made without the others.
        let mut random = Random((seed << 40) ^ (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut input = seeds[random.below(seeds.len())].clone();
        mutate(&mut input, &seeds, &mut random);
        check(&input, number);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// For this process, which runs nothing but these tests; set once.
fn limit_address_space() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    use std::sync::Once;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let used = status.lines().find_map(|line| line.strip_prefix("VmSize:")).unwrap();
        let used_kib: u64 = used.trim().trim_end_matches(" kB").parse().unwrap();
        let limit = used_kib * 1024 + ADDRESS_SPACE_BYTES;
        let Rlimit { maximum, .. } = getrlimit(Resource::As);
        setrlimit(Resource::As, Rlimit { current: Some(limit), maximum }).unwrap();
    });
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(target(stringify!($name)));
        })*

        #[test]
        fn every_target_has_a_test_and_a_binary() {
            let tests = [$(stringify!($name)),*];
            let manifest = fs::read_to_string("fuzz/Cargo.toml").unwrap();
            for target in TARGETS {
                assert!(tests.contains(&target.name), "{}", target.name);
                assert!(manifest.contains(&format!("\nname = \"{}\"\n", target.name)));
                assert!(Path::new(&format!("fuzz/fuzz_targets/{}.rs", target.name)).exists());
            }
        }
    };
}

targets! { packet connect txn txn_log snapshot apply notification config requests }

fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).unwrap()
}

/// Not a test of anything: writes the inputs to start from, when asked to.
#[test]
fn corpus_is_written_when_asked_for() {
    let Some(folder) = std::env::var_os("ZABKEEPER_FUZZ_CORPUS") else { return };
    for target in TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder).unwrap();
        for (n, input) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{n}")), input).unwrap();
        }
    }
}
