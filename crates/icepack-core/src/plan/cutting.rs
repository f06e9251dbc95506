//! Where snapshots are cut, and which of them are finished. The encoder asks with the bytes that it
//! has encoded, the planner with the sizes of files, and the simulations of both with theirs.

use crate::model::policy::Policy;

/// The sizes that snapshots are to have, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSize {
    /// About so large.
    pub target: u64,
    /// No larger.
    pub max: u64,
}

impl FileSize {
    /// The sizes that `policy` asks for.
    pub fn of(policy: &Policy) -> Self {
        Self {
            target: policy.target_file_size.max(1),
            max: policy.max_file_size,
        }
    }

    /// A snapshot of so many bytes is left alone. It is less than [`Self::end`] cuts where more than
    /// one file is left: an estimate that is somewhat wrong must not leave two files to be merged
    /// again.
    pub fn finished(self) -> u64 {
        self.target - self.target / 3
    }

    /// The largest that a snapshot becomes, so that it takes along a rest too small for a file.
    pub fn most(self) -> u64 {
        let fifth_more = self.target.saturating_add(self.target / 5);
        fifth_more.min(self.max).max(self.target)
    }

    /// Bytes at which the open snapshot ends, where `left` bytes are left for it and all after it.
    pub fn end(self, left: u64) -> u64 {
        if left <= self.most() {
            self.most()
        } else {
            self.even(left).map_or(self.target, |(_, bytes)| bytes)
        }
    }

    /// The number and bytes of equal files that `left` bytes become; none where these would be too
    /// small. Then full files are cut, and what remains waits for more rows.
    fn even(self, left: u64) -> Option<(u64, u64)> {
        let nearest = (left.saturating_add(self.target / 2) / self.target).max(1);
        let files = nearest.max(left.div_ceil(self.most()));
        let bytes = left.div_ceil(files);
        (bytes >= self.target - self.target / 7).then_some((files, bytes))
    }

    /// The snapshots that `bytes` of one period become.
    pub fn files(self, bytes: u64) -> u64 {
        if bytes <= self.most() {
            return 1;
        }
        match self.even(bytes) {
            Some((files, _)) => files,
            None => 1 + self.files(bytes - self.target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of the files that `bytes` become.
    fn cut(size: FileSize, bytes: u64) -> Vec<u64> {
        let (mut left, mut files) = (bytes, Vec::new());
        while left > 0 {
            let file = size.end(left).min(left);
            files.push(file);
            left -= file;
        }
        files
    }

    #[test]
    fn files_meet_the_target_and_no_two_are_left_to_be_merged_again() {
        for max in [1_000, 1_100, 2_000] {
            let size = FileSize { target: 1_000, max };
            for bytes in 1..8_000 {
                let files = cut(size, bytes);
                assert_eq!(files.len() as u64, size.files(bytes), "{bytes}: {files:?}");
                let open: Vec<_> = files.iter().filter(|f| **f < size.finished()).collect();
                assert!(open.len() <= 1, "{max} {bytes}: {files:?}");
                assert!(
                    files.iter().all(|f| *f <= size.most()),
                    "{bytes}: {files:?}"
                );
                // What is not finished is the last, unless there is no more.
                assert!(
                    open.is_empty() || files.last() == Some(open[0]),
                    "{bytes}: {files:?}"
                );
            }
        }
    }

    #[test]
    fn the_smallest_targets_are_sizes_too() {
        for target in 1..5 {
            let size = FileSize { target, max: 1 };
            assert!(size.finished() >= 1 && size.most() >= target);
            assert_eq!(cut(size, 20).iter().sum::<u64>(), 20);
        }
    }
}
