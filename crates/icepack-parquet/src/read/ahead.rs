//! What of a remote file is fetched at once, and held until the decoder comes to it.
//!
//! A request costs as much time as some megabytes. Small column chunks are therefore fetched
//! together with their neighbours, in blocks: a file of thousands of columns takes few requests. Of
//! a large chunk, one piece is held.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

/// A chunk of at most so many bytes is fetched with its neighbours. Writers end its pages after a
/// number of rows, as they end those of its neighbours: the decoder needs all of them at once.
const SMALL: u64 = 1 << 20;
/// Bytes between two chunks that are fetched for nothing, at most.
const GAP: u64 = 256 << 10;
/// Bytes of a block, at most.
const BLOCK: u64 = 8 << 20;
/// Bytes of a piece, at least.
const PIECE: u64 = 64 << 10;
/// Blocks are dropped for want of room before all of them has been read, and are fetched again. Once
/// so many times the bytes of a row group were fetched, its pages are not like those of its
/// neighbours, and each is fetched alone.
const TIMES: u64 = 4;

/// The bytes that the chunks of a row group may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Shares {
    /// Chunks of at most so many are small.
    small: u64,
    /// All blocks together.
    blocks: u64,
    /// One piece.
    piece: u64,
    /// All pieces together.
    pieces: u64,
}

impl Shares {
    /// How chunks of these sizes share `window` bytes.
    pub fn of(window: u64, sizes: impl Iterator<Item = u64>) -> Self {
        let small = SMALL.min(window / 4);
        let (mut together, mut large) = (0_u64, 0_u64);
        for size in sizes {
            if size <= small {
                together = together.saturating_add(size);
            } else {
                large += 1;
            }
        }
        let blocks = if large == 0 {
            window
        } else {
            together.min(window / 2)
        };
        let piece = ((window - blocks) / large.max(1)).max(PIECE);
        Self {
            small,
            blocks,
            piece,
            pieces: piece.saturating_mul(large),
        }
    }

    /// All that is held at once. More than the window, where that has no room for the least piece
    /// of each large chunk.
    pub fn total(self) -> u64 {
        self.blocks.saturating_add(self.pieces)
    }
}

/// Bytes that were fetched.
#[derive(Debug)]
struct Held {
    start: u64,
    bytes: Bytes,
}

impl Held {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn slice(&self, at: u64, len: u64) -> Option<Bytes> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        let to = from.checked_add(usize::try_from(len).ok()?)?;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}

/// A column chunk of the row group that is read.
#[derive(Debug)]
struct Chunk {
    range: Range<u64>,
    /// The first byte that no page was read of.
    next: u64,
    /// Of a large one.
    piece: Option<Held>,
}

impl Chunk {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// The bytes that a reader holds ahead of its decoder.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    window: u64,
    shares: Shares,
    /// By their places.
    chunks: Vec<Chunk>,
    /// The oldest first.
    blocks: VecDeque<Held>,
    /// Bytes that were fetched in blocks of this row group, and that may be.
    fetched: u64,
    most: u64,
}

impl Ahead {
    /// Nothing yet, of `window` bytes.
    pub fn new(window: u64) -> Self {
        Self {
            window,
            ..Self::default()
        }
    }

    /// The column chunks that are read next; `following` is where those of the row groups after
    /// them lie. Returns what is to be fetched at once, if all of it fits and is mostly what is
    /// wanted.
    pub fn begin(
        &mut self,
        mut chunks: Vec<Range<u64>>,
        following: impl Iterator<Item = Range<u64>>,
    ) -> Option<Range<u64>> {
        chunks.retain(|c| !c.is_empty());
        chunks.sort_by_key(|c| c.start);
        let span =
            chunks.first().map_or(0, |c| c.start)..chunks.iter().map(|c| c.end).max().unwrap_or(0);
        let sizes = || chunks.iter().map(|c| c.end - c.start);
        let wanted = sizes().fold(0, u64::saturating_add);
        self.shares = Shares::of(self.window, sizes());
        (self.fetched, self.most) = (0, wanted.saturating_mul(TIMES));
        self.chunks = chunks
            .into_iter()
            .map(|range| Chunk {
                next: range.start,
                range,
                piece: None,
            })
            .collect();
        let whole = span.end - span.start;
        // It may have been fetched together with the row group before it.
        let is_held = |held: &Held| held.slice(span.start, whole).is_some();
        self.blocks.retain(is_held);
        if whole == 0 || whole > self.window || whole / 2 > wanted || !self.blocks.is_empty() {
            return None;
        }
        let most = span.start.saturating_add(BLOCK.min(self.window));
        let mut end = span.end;
        for next in following {
            if next.start < end || next.start > end.saturating_add(GAP) || next.end > most {
                break;
            }
            end = next.end;
        }
        Some(span.start..end)
    }

    /// The chunks are read from their beginning again.
    pub fn again(&mut self) {
        for chunk in &mut self.chunks {
            chunk.next = chunk.range.start;
        }
    }

    /// A page that ends here was read.
    pub fn passed(&mut self, end: u64) {
        if let Some(i) = self.chunk_of(end.saturating_sub(1)) {
            let chunk = &mut self.chunks[i];
            chunk.next = chunk.next.max(end);
        }
    }

    /// Where the column chunk of `at` ends.
    pub fn end_of(&self, at: u64) -> Option<u64> {
        self.chunk_of(at).map(|i| self.chunks[i].range.end)
    }

    fn chunk_of(&self, at: u64) -> Option<usize> {
        let i = self
            .chunks
            .partition_point(|c| c.range.start <= at)
            .checked_sub(1)?;
        self.chunks[i].range.contains(&at).then_some(i)
    }

    fn is_small(&self, chunk: &Chunk) -> bool {
        chunk.len() <= self.shares.small
    }

    /// These bytes, if they are held.
    pub fn take(&self, at: u64, len: u64) -> Option<Bytes> {
        let piece = self
            .chunk_of(at)
            .and_then(|i| self.chunks[i].piece.as_ref());
        piece
            .into_iter()
            .chain(&self.blocks)
            .find_map(|held| held.slice(at, len))
    }

    /// What to fetch where `len` bytes at `at` are not held: they, and what the decoder comes to
    /// next. Drops what would be too much with it.
    pub fn room_for(&mut self, at: u64, len: u64) -> Range<u64> {
        let need = at.saturating_add(len);
        let Some(i) = self.chunk_of(at) else {
            return at..need;
        };
        if !self.is_small(&self.chunks[i]) {
            // The decoder reads a chunk from front to back: what is held of it lies behind.
            self.chunks[i].piece = None;
            let end = self.chunks[i].range.end;
            return at..need.max(end.min(at.saturating_add(self.shares.piece)));
        }
        let end = if self.fetched < self.most {
            self.block_end(i, at)
        } else {
            let end = self.chunks[i].range.end;
            end.min(at.saturating_add(PIECE))
        };
        let range = at..need.max(end);
        let bytes = range.end - range.start;
        self.fetched = self.fetched.saturating_add(bytes);
        let mut held: u64 = self.blocks.iter().map(Held::len).sum();
        while held.saturating_add(bytes) > self.shares.blocks
            && let Some(oldest) = self.blocks.pop_front()
        {
            held -= oldest.len();
        }
        range
    }

    /// The end of a block from `at`, in the small chunk `i`: with the next ones that are small and of
    /// which there is something left to be read.
    fn block_end(&self, i: usize, at: u64) -> u64 {
        let most = at.saturating_add(BLOCK.min(self.shares.blocks));
        let mut end = self.chunks[i].range.end;
        for next in &self.chunks[i + 1..] {
            if next.next >= next.range.end {
                continue;
            }
            let is_near = next.next <= end.saturating_add(GAP);
            if !is_near || !self.is_small(next) || next.range.end > most {
                break;
            }
            end = end.max(next.range.end);
        }
        end
    }

    /// Holds what was fetched.
    pub fn hold(&mut self, start: u64, bytes: Bytes) {
        let held = Held { start, bytes };
        match self.chunk_of(start) {
            Some(i) if !self.is_small(&self.chunks[i]) => self.chunks[i].piece = Some(held),
            Some(_) => self.blocks.push_back(held),
            None => {}
        }
    }

    /// Holds a whole row group, as [`Self::begin`] asked for it.
    pub fn hold_whole(&mut self, start: u64, bytes: Bytes) {
        self.blocks.clear();
        self.blocks.push_back(Held { start, bytes });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    /// A file of `chunks` that come one after the other, read page by page.
    struct Read {
        ahead: Ahead,
        requests: Vec<Range<u64>>,
        held: u64,
    }

    impl Read {
        fn of(window: u64, chunks: Vec<Range<u64>>) -> Self {
            let mut this = Self {
                ahead: Ahead::new(window),
                requests: Vec::new(),
                held: 0,
            };
            this.begin(chunks, Vec::new());
            this
        }

        fn begin(&mut self, chunks: Vec<Range<u64>>, following: Vec<Range<u64>>) {
            if let Some(all) = self.ahead.begin(chunks, following.into_iter()) {
                self.ahead.hold_whole(all.start, zeros(&all));
                self.requests.push(all);
            }
        }

        fn page(&mut self, at: u64, len: u64) {
            if self.ahead.take(at, len).is_none() {
                let range = self.ahead.room_for(at, len);
                assert!(range.start == at && range.end >= at + len, "{range:?}");
                self.ahead.hold(at, zeros(&range));
                self.requests.push(range);
            }
            self.ahead.passed(at + len);
            let pieces = self.ahead.chunks.iter().filter_map(|c| c.piece.as_ref());
            let held = pieces.chain(&self.ahead.blocks).map(Held::len).sum();
            self.held = self.held.max(held);
        }

        /// All chunks side by side, in so many pages each.
        fn pages(&mut self, chunks: &[Range<u64>], pages: u64) {
            for page in 0..pages {
                for chunk in chunks {
                    let len = (chunk.end - chunk.start) / pages;
                    self.page(chunk.start + page * len, len);
                }
            }
        }
    }

    fn zeros(range: &Range<u64>) -> Bytes {
        vec![0; usize::try_from(range.end - range.start).unwrap()].into()
    }

    fn chunks(from: u64, sizes: &[u64]) -> Vec<Range<u64>> {
        let mut at = from;
        let place = |size: &u64| {
            at += size;
            at - size..at
        };
        sizes.iter().map(place).collect()
    }

    #[test]
    fn a_row_group_that_fits_takes_one_request() {
        let all = chunks(4, &[MIB, 10, 3 * MIB]);
        let mut read = Read::of(16 * MIB, all.clone());
        read.pages(&all, 1);
        assert_eq!(read.requests, std::slice::from_ref(&(4..4 * MIB + 14)));
    }

    #[test]
    fn small_row_groups_that_follow_come_along() {
        let groups: Vec<Range<u64>> = chunks(0, &[MIB; 20]);
        let mut read = Read::of(16 * MIB, Vec::new());
        for (i, group) in groups.iter().enumerate() {
            read.begin(vec![group.clone()], groups[i + 1..].to_vec());
            read.page(group.start, MIB);
        }
        assert_eq!(
            read.requests,
            [0..8 * MIB, 8 * MIB..16 * MIB, 16 * MIB..20 * MIB]
        );
        assert!(read.held <= 16 * MIB);
        // Not where something else lies between.
        let far: Vec<Range<u64>> = (0..3).map(|i| i * MIB..i * MIB + 10).collect();
        let mut read = Read::of(16 * MIB, Vec::new());
        read.begin(vec![far[0].clone()], far[1..].to_vec());
        assert_eq!(read.requests, std::slice::from_ref(&(0..10)));
    }

    #[test]
    fn thousands_of_chunks_take_few_requests_within_the_window() {
        let all = chunks(4, &[20 * KIB; 4_000]);
        for (window, requests) in [(16 * MIB, 10), (7 * MIB, 12), (MIB, 80)] {
            let mut read = Read::of(window, all.clone());
            read.pages(&all, 1);
            assert!(
                read.requests.len() <= requests && read.held <= window,
                "{window}: {} requests, {} held",
                read.requests.len(),
                read.held
            );
            let bytes: u64 = read.requests.iter().map(|r| r.end - r.start).sum();
            assert_eq!(bytes, 4_000 * 20 * KIB);
        }
    }

    #[test]
    fn pages_that_begin_at_the_same_rows_are_fetched_together_each_time() {
        let all = chunks(4, &[20 * KIB; 4_000]);
        let mut read = Read::of(16 * MIB, all.clone());
        read.pages(&all, 2);
        assert!(
            read.requests.len() <= 21 && read.held <= 16 * MIB,
            "{} requests, {} held",
            read.requests.len(),
            read.held
        );
    }

    #[test]
    fn pages_that_do_not_are_not_fetched_again_for_ever() {
        let all = chunks(4, &[20 * KIB; 4_000]);
        let mut read = Read::of(16 * MIB, all.clone());
        read.pages(&all, 1);
        read.ahead.again();
        // Far from one another, in an order that nobody can guess.
        for i in 0..4_000 {
            let chunk = &all[i * 1_999 % 4_000];
            read.page(chunk.start, 10 * KIB);
        }
        let bytes: u64 = read.requests.iter().map(|r| r.end - r.start).sum();
        assert!(
            bytes <= 6 * 4_000 * 20 * KIB && read.held <= 16 * MIB,
            "{bytes} bytes, {} held",
            read.held
        );
    }

    #[test]
    fn small_chunks_beside_large_ones_share_the_window() {
        let mut sizes = vec![50 * MIB; 4];
        sizes.extend([100 * KIB; 70]);
        sizes.push(50 * MIB);
        let all = chunks(0, &sizes);
        let mut read = Read::of(16 * MIB, all.clone());
        read.pages(&all, 64);
        assert!(read.held <= 16 * MIB, "{} held", read.held);
        // Of the small ones, each was fetched once.
        let small: Vec<_> = read
            .requests
            .iter()
            .filter(|r| (200 * MIB..207 * MIB).contains(&r.start))
            .collect();
        assert!(small.len() <= 2, "{small:?}");
    }

    #[test]
    fn a_small_gap_is_fetched_and_a_large_one_is_not() {
        let near = [0..10, 100 * KIB..100 * KIB + 10, 400 * KIB..400 * KIB + 10];
        let mut read = Read::of(MIB, near.to_vec());
        read.pages(&near, 1);
        assert_eq!(
            read.requests,
            [0..100 * KIB + 10, 400 * KIB..400 * KIB + 10]
        );
    }

    #[test]
    fn the_shares_of_few_large_chunks_are_the_window() {
        assert_eq!(Shares::of(MIB, [3 * MIB; 4].into_iter()).total(), MIB);
        assert_eq!(Shares::of(MIB, [10; 4].into_iter()).total(), MIB);
        // Their least pieces.
        assert_eq!(
            Shares::of(MIB, [3 * MIB; 100].into_iter()).total(),
            100 * PIECE
        );
    }
}
