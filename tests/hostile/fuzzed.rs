//! The targets of `fuzz/`, over mutations from a seed: the short form that every test run does.

use icepack::protocol::discover;
use icepack::settings::{Layers, Settings};
use icepack_core::model::manifest::Receipt;
use icepack_core::model::names::Tenant;

use super::targets;

/// Small and good enough: the same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % n.max(1) as u64).unwrap()
    }

    /// Flips, cuts, doubles, or writes something interesting.
    fn mutate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = bytes.to_vec();
        for _ in 0..=self.below(4) {
            if out.is_empty() {
                out.push(0);
            }
            let at = self.below(out.len());
            match self.below(7) {
                0 => out[at] ^= 1 << self.below(8),
                1 => out[at] = [0, 0xff, 0x80, 0x7f, b'"', b'/', b'.', b'%'][self.below(8)],
                2 => out.truncate(at),
                3 => drop(out.remove(at)),
                4 => out.insert(at, self.below(256) as u8),
                5 => {
                    let end = (at + self.below(20)).min(out.len());
                    let piece = out[at..end].to_vec();
                    out.splice(at..at, piece);
                }
                _ => {
                    let end = (at + 4).min(out.len());
                    let n =
                        [u32::MAX, 0x7fff_ffff, 0x8000_0000, 1 << 20][self.below(4)].to_le_bytes();
                    out[at..end].copy_from_slice(&n[..end - at]);
                }
            }
        }
        out
    }
}

/// `ICEPACK_FUZZ_TIMES` makes it longer.
fn short(seed: u64, rounds: usize, corpus: &[Vec<u8>], target: fn(&[u8])) {
    let mut random = Random(seed);
    for sound in corpus {
        target(sound);
    }
    let times: usize = std::env::var("ICEPACK_FUZZ_TIMES").map_or(1, |v| v.parse().unwrap());
    for _ in 0..rounds * times {
        let start = random.below(corpus.len());
        let input = random.mutate(&corpus[start]);
        target(&input);
    }
}

#[test]
fn mutated_manifests_are_decoded_or_refused() {
    short(1, 20_000, &targets::manifests(), targets::manifest);
}

#[test]
fn mutated_receipts_are_decoded_or_refused() {
    short(2, 20_000, &targets::receipts(), targets::receipt);
}

/// Every sound input is read, with all that newer versions write: else the mutations begin nowhere.
#[test]
fn sound_inputs_are_accepted() {
    for bytes in targets::manifests() {
        let acme = Tenant::parse("acme").unwrap();
        assert!(discover::decode(&acme, 3, &bytes).is_ok());
    }
    let receipts: Vec<Receipt> = targets::receipts()
        .iter()
        .map(|bytes| serde_json::from_slice(bytes).unwrap())
        .collect();
    assert!(receipts.iter().any(|r| r.checksum.is_some()
        && r.verified.is_some()
        && r.schema.is_some()
        && r.manifest_version.is_some()));
    for bytes in targets::configs() {
        let file = Some(("icepack.toml".into(), String::from_utf8(bytes).unwrap()));
        Settings::resolve(&Layers {
            file,
            ..Layers::default()
        })
        .unwrap();
    }
}

#[test]
fn mutated_configurations_keep_their_promises_or_are_refused_in_a_line() {
    short(5, 5_000, &targets::configs(), targets::config);
}

#[test]
fn names_of_any_bytes_stay_within_their_tenant() {
    short(3, 50_000, &targets::names(), targets::name);
}

#[test]
fn a_pass_over_a_mutated_file_keeps_its_neighbours() {
    short(4, 400, &targets::parquet_files(), targets::pass);
}

#[test]
fn a_file_cut_anywhere_is_set_aside() {
    let sound = targets::parquet_files().swap_remove(0);
    // A file without a byte is no input.
    assert_eq!(targets::pass_over(&[]), None);
    for end in (97..sound.len()).step_by(97) {
        assert!(
            targets::pass_over(&sound[..end]).is_some(),
            "cut to {end} of {} bytes",
            sound.len()
        );
    }
    assert_eq!(targets::pass_over(&sound), None);
}
