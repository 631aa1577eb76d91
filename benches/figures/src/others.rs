//! pco and zstd on the same blocks, each block by itself, at their highest useful level.

use pco::ChunkConfig;
use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress};
use zstd::bulk::{Compressor, Decompressor};

/// zstd's level.
pub const ZSTD_LEVEL: i32 = 19;
/// pco's highest level.
pub const PCO_LEVEL: usize = 12;

/// Both of them, ready.
pub struct Others {
    pco: ChunkConfig,
    zstd: Compressor<'static>,
    unzstd: Decompressor<'static>,
}

impl Others {
    pub fn new() -> Self {
        Self {
            pco: ChunkConfig::default().with_compression_level(PCO_LEVEL),
            zstd: Compressor::new(ZSTD_LEVEL).expect("the level exists"),
            unzstd: Decompressor::new().expect("it needs nothing"),
        }
    }

    /// Compresses a block with pco's standalone format.
    pub fn pco<T: Number>(&self, block: &[T]) -> Vec<u8> {
        simple_compress(block, &self.pco).expect("memory does not fail")
    }

    pub fn un_pco<T: Number>(&self, bytes: &[u8]) -> Vec<T> {
        simple_decompress(bytes).expect("it was compressed here")
    }

    fn pco_size<T: Number + std::fmt::Debug>(&self, block: &[T]) -> usize {
        let compressed = self.pco(block);
        assert_eq!(self.un_pco::<T>(&compressed), block);
        compressed.len()
    }

    /// Compresses a block's little-endian bytes: two a sample where they fit, else four.
    pub fn zstd(&mut self, block: &[u8]) -> Vec<u8> {
        self.zstd.compress(block).expect("memory does not fail")
    }

    pub fn un_zstd(&mut self, bytes: &[u8], len: usize) -> Vec<u8> {
        self.unzstd.decompress(bytes, len).expect("it was compressed here")
    }

    /// Returns the bits per sample that both take in blocks of `len`, and checks that they decompress.
    pub fn bits_per_sample(&mut self, samples: &[i32], len: usize) -> [f64; 2] {
        let mut sizes = [0usize; 2];
        let narrow: Option<Vec<i16>> = samples.iter().map(|&sample| i16::try_from(sample).ok()).collect();
        sizes[0] = match &narrow {
            Some(narrow) => narrow.chunks(len).map(|block| self.pco_size(block)).sum(),
            None => samples.chunks(len).map(|block| self.pco_size(block)).sum(),
        };
        let narrow = narrow.is_some();
        for block in samples.chunks(len) {
            let bytes = little_endian(block, narrow);
            let compressed = self.zstd(&bytes);
            assert_eq!(self.un_zstd(&compressed, bytes.len()), bytes);
            sizes[1] += compressed.len();
        }
        sizes.map(|size| size as f64 * 8.0 / samples.len() as f64)
    }
}

/// The bytes of a block, as they would lie in memory.
pub fn little_endian(block: &[i32], narrow: bool) -> Vec<u8> {
    let bytes = if narrow { 2 } else { 4 };
    block.iter().flat_map(|sample| sample.to_le_bytes().into_iter().take(bytes)).collect()
}
