//! What the tests of the formats share: the bytes that `docs/format.md` shows.

const PAGE: &str = include_str!("../../../docs/format.md");

/// The digits of the page's block with this name, without the remarks behind bars.
#[track_caller]
pub(crate) fn shown(name: &str) -> String {
    let (_, block) = PAGE.split_once(&format!("```hex {name}\n")).expect("a block of this name");
    let (block, _) = block.split_once("```").expect("the block ends");
    let digits = block.lines().filter_map(|line| line.split('|').next());
    digits.flat_map(str::split_whitespace).collect()
}

/// Bytes as such digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
