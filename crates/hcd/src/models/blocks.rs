//! A network as a row of blocks, for what treats layers by their depth: frozen stages, layer-wise learning rates.
//!
//! As timm's `group_matcher`: the stem first, then every residual block by itself, then the head with what
//! normalises before it.

/// Parameters that belong to one place in a network's depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The stage that it is part of, from 1; 0 for the stem.
    pub stage: usize,
    /// What its parameters' names begin with.
    prefixes: Vec<String>,
}

impl Block {
    /// A block of `stage`, from 1.
    pub fn new(stage: usize, prefixes: impl IntoIterator<Item = String>) -> Self {
        Self { stage, prefixes: prefixes.into_iter().collect() }
    }

    /// What comes before the first stage.
    pub fn stem<const N: usize>(prefixes: [&str; N]) -> Self {
        Self { stage: 0, prefixes: prefixes.map(str::to_owned).to_vec() }
    }

    fn holds(&self, name: &str) -> bool {
        self.prefixes.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }
}

/// The place of a parameter among `blocks`: its block's index, or as many as there are for the head.
pub fn depth_of(blocks: &[Block], name: &str) -> usize {
    blocks.iter().position(|block| block.holds(name)).unwrap_or(blocks.len())
}

/// Which blocks' outputs are the four stages of a network that has none by itself: at 1/6, 1/3, 5/6 and all of
/// its depth, as Swin-T's 2, 2, 6 and 2 blocks; of twelve blocks the 2nd, 4th, 10th and 12th. A network of fewer
/// than four blocks has a stage a block. Indices from 0.
pub(super) fn default_taps(depth: usize) -> Vec<usize> {
    if depth <= 4 {
        return (0..depth).collect();
    }
    let at = |sixths: usize| (depth * sixths + 3) / 6;
    let first = at(1).max(1);
    let second = at(2).max(first + 1);
    let third = at(5).clamp(second + 1, depth - 1);
    [first, second, third, depth].map(|blocks| blocks - 1).to_vec()
}

/// The taps asked for, or the default ones where none are.
///
/// # Errors
/// Where they are not rising indices of blocks.
pub(super) fn check_taps(taps: &[usize], depth: usize) -> Result<(), String> {
    let rising = taps.windows(2).all(|pair| pair[0] < pair[1]);
    match rising && taps.iter().all(|&tap| tap < depth) {
        true => Ok(()),
        false => Err(format!("taps = {taps:?}, must rise and be below depth = {depth}")),
    }
}

/// The blocks of a plain stack `blocks.0`, `blocks.1`, … whose stages end at `taps`, behind `stem`.
pub(super) fn stacked<const N: usize>(stem: [&str; N], depth: usize, taps: &[usize]) -> Vec<Block> {
    let stage = |index: usize| 1 + taps.iter().filter(|&&tap| tap < index).count().min(taps.len() - 1);
    let blocks = (0..depth).map(|index| Block::new(stage(index), [format!("blocks.{index}.")]));
    std::iter::once(Block::stem(stem)).chain(blocks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_spread_as_swin_spreads_its_stages() {
        for (depth, taps) in [
            (1, vec![0]),
            (3, vec![0, 1, 2]),
            (4, vec![0, 1, 2, 3]),
            (5, vec![0, 1, 3, 4]),
            (6, vec![0, 1, 4, 5]),
            (8, vec![0, 2, 6, 7]),
            (12, vec![1, 3, 9, 11]),
            (24, vec![3, 7, 19, 23]),
        ] {
            assert_eq!(default_taps(depth), taps, "{depth}");
        }
    }

    #[test]
    fn every_parameter_has_a_place() {
        let blocks = stacked(["patch_embed.", "pos_embed"], 12, &[1, 3, 9, 11]);
        for (name, depth, stage) in [
            ("pos_embed", 0, 0),
            ("blocks.1.norm1.weight", 2, 1),
            ("blocks.2.x", 3, 2),
            ("blocks.11.x", 12, 4),
        ] {
            assert_eq!(depth_of(&blocks, name), depth, "{name}");
            assert_eq!(blocks[depth].stage, stage, "{name}");
        }
        assert_eq!(depth_of(&blocks, "norm.weight"), 13);
    }
}
