//! What the fuzz targets share: a bound on the memory that an input may claim.

use peak_alloc::PeakAlloc;

/// Counts what is allocated; a target checks itself with [`within`].
#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// Runs `work` and panics when it claimed more than `per_byte` bytes of memory for each byte of
/// its input, and `base` bytes besides. Decoders check a length before they allocate for it.
pub fn within<R>(input: &[u8], per_byte: usize, base: usize, work: impl FnOnce() -> R) -> R {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let result = work();
    let claimed = ALLOCATED.peak_usage().saturating_sub(before);
    let allowed = base + per_byte * input.len();
    assert!(claimed <= allowed, "{claimed} bytes claimed for an input of {}", input.len());
    result
}
