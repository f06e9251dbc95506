//! Computes checksums of what is about to be sent, as S3 does.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use sha2::{Digest, Sha256};

use icepack_core::model::manifest::{Checksum, ChecksumAlgorithm, ChecksumKind};

const CRC: CrcAlgorithm = CrcAlgorithm::Crc64Nvme;

/// The checksum of some bytes.
pub fn of(algorithm: ChecksumAlgorithm, bytes: &Bytes) -> Part {
    match algorithm {
        ChecksumAlgorithm::Crc64Nvme => {
            let len = bytes.len() as u64;
            Part::Crc {
                sum: crc_fast::checksum(CRC, bytes),
                len,
            }
        }
        ChecksumAlgorithm::Sha256 => Part::Sha(Sha256::digest(bytes).into()),
    }
}

/// The checksum of a part, or of an object of one.
#[derive(Debug, Clone)]
pub enum Part {
    /// Can be joined with those of its neighbours.
    Crc {
        /// Of the bytes.
        sum: u64,
        /// How many.
        len: u64,
    },
    /// Cannot.
    Sha([u8; 32]),
}

impl Part {
    /// In base64, as requests carry it.
    pub fn text(&self) -> String {
        match self {
            Self::Crc { sum, .. } => STANDARD.encode(sum.to_be_bytes()),
            Self::Sha(sum) => STANDARD.encode(sum),
        }
    }

    /// As the checksum of an object that was sent whole.
    pub fn whole(&self) -> Checksum {
        let algorithm = match self {
            Self::Crc { .. } => ChecksumAlgorithm::Crc64Nvme,
            Self::Sha(_) => ChecksumAlgorithm::Sha256,
        };
        Checksum {
            algorithm,
            kind: ChecksumKind::FullObject,
            value: self.text(),
        }
    }
}

/// The checksum of an object that is sent in parts.
#[derive(Debug)]
pub enum Whole {
    /// The same as if it had been sent whole.
    Crc(u64),
    /// The sum of the sums, and how many there were.
    Sha(Sha256, usize),
}

impl Whole {
    /// Of nothing yet.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        match algorithm {
            ChecksumAlgorithm::Crc64Nvme => Self::Crc(crc_fast::checksum(CRC, &[])),
            ChecksumAlgorithm::Sha256 => Self::Sha(Sha256::new(), 0),
        }
    }

    /// Adds the next part.
    pub fn add(&mut self, part: &Part) {
        match (self, part) {
            (Self::Crc(all), Part::Crc { sum, len }) => {
                *all = crc_fast::checksum_combine(CRC, *all, *sum, *len)
            }
            (Self::Sha(all, n), Part::Sha(sum)) => {
                all.update(sum);
                *n += 1;
            }
            // One upload has one algorithm.
            (Self::Crc(_), Part::Sha(_)) | (Self::Sha(..), Part::Crc { .. }) => {}
        }
    }

    /// As S3 will show it.
    pub fn checksum(&self) -> Checksum {
        match self {
            Self::Crc(sum) => Part::Crc { sum: *sum, len: 0 }.whole(),
            Self::Sha(all, n) => {
                let value = format!("{}-{n}", STANDARD.encode(all.clone().finalize()));
                Checksum {
                    algorithm: ChecksumAlgorithm::Sha256,
                    kind: ChecksumKind::Composite,
                    value,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_checksums_of_known_bytes() {
        let nine = Bytes::from_static(b"123456789");
        // The check value of CRC-64/NVME is ae8b14860a799888.
        assert_eq!(
            of(ChecksumAlgorithm::Crc64Nvme, &nine).text(),
            STANDARD.encode(0xae8b_1486_0a79_9888_u64.to_be_bytes())
        );
        assert_eq!(
            of(ChecksumAlgorithm::Sha256, &nine).text(),
            "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="
        );
    }

    #[test]
    fn parts_join_to_the_checksum_of_the_whole() {
        let whole = Bytes::from(
            (0..100_000_u32)
                .flat_map(u32::to_le_bytes)
                .collect::<Vec<_>>(),
        );
        let mut joined = Whole::new(ChecksumAlgorithm::Crc64Nvme);
        for part in whole.chunks(70_001) {
            joined.add(&of(
                ChecksumAlgorithm::Crc64Nvme,
                &Bytes::copy_from_slice(part),
            ));
        }
        assert_eq!(
            joined.checksum(),
            of(ChecksumAlgorithm::Crc64Nvme, &whole).whole()
        );
        let mut composite = Whole::new(ChecksumAlgorithm::Sha256);
        composite.add(&of(ChecksumAlgorithm::Sha256, &whole));
        assert!(
            composite.checksum().value.ends_with("=-1")
                && composite.checksum().kind == ChecksumKind::Composite
        );
    }
}
