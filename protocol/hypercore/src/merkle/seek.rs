use super::{NodeSource, TreeHead};
use crate::flat_tree::{Iter, count_leaves, full_roots, left_span, right_span};
use crate::{Error, Node};

/// Where a byte is, as far as the tree that is here says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// In this block, at this offset.
    Found {
        /// The block.
        block: u64,
        /// The byte in it.
        offset: u64,
    },
    /// In one of these blocks.
    Between {
        /// The first of them.
        start: u64,
        /// The first that is not.
        end: u64,
    },
}

/// The bytes under a node that count.
fn unpadded(node: &Node, padding: u64) -> u64 {
    node.size.saturating_sub(padding.saturating_mul(count_leaves(node.index)))
}

/// How many bytes are before the node `index` (a whole subtree of `head`'s tree, or its end).
pub(crate) fn byte_offset(head: &TreeHead, source: &impl NodeSource, index: u64) -> Result<u64, Error> {
    if index == 2 * head.length {
        return Ok(head.byte_length);
    }
    let index = left_span(index);
    let mut offset = 0;
    for root in &head.roots {
        if index > right_span(root.index) {
            offset += root.size;
            continue;
        }
        let mut iter = Iter::new(root.index);
        while iter.index != index {
            let here = iter.index;
            iter.left_child();
            if index >= here {
                offset += source.expect(iter.index)?.size;
                iter.sibling();
            } else if iter.index == here {
                return Err(Error::InvalidRequest("not a block"));
            }
        }
        return Ok(offset);
    }
    Err(Error::InvalidRequest("a node beyond the tree"))
}

/// The block that the byte `bytes` is in, `padding` bytes of each block not counted.
pub(crate) fn seek(head: &TreeHead, source: &impl NodeSource, mut bytes: u64, padding: u64) -> Result<Seek, Error> {
    let found = |node: u64, offset| Seek::Found { block: node / 2, offset };
    if bytes == 0 {
        return Ok(found(0, 0));
    }
    for root in &head.roots {
        let size = unpadded(root, padding);
        if bytes == size {
            return Ok(found(right_span(root.index) + 2, 0));
        }
        if bytes > size {
            bytes -= size;
            continue;
        }
        let mut iter = Iter::new(root.index);
        while iter.index & 1 == 1 {
            let parent = iter.index;
            let Some(left) = source.node(iter.left_child())? else {
                let (start, end) = (left_span(parent) / 2, right_span(parent) / 2 + 1);
                return Ok(Seek::Between { start, end });
            };
            let size = unpadded(&left, padding);
            if size == bytes {
                return Ok(found(right_span(left.index) + 2, 0));
            }
            if size < bytes {
                bytes -= size;
                iter.sibling();
            }
        }
        return Ok(found(iter.index, bytes));
    }
    Ok(Seek::Between { start: head.length, end: head.length })
}

/// The node to prove for a byte, anywhere in the tree of `length` blocks; 2 `length` if it is beyond.
pub(crate) fn node_of_byte(source: &impl NodeSource, length: u64, mut bytes: u64, padding: u64) -> Result<u64, Error> {
    for root in full_roots(length) {
        let size = unpadded(&source.expect(root)?, padding);
        if bytes == size {
            return Ok(root);
        }
        if bytes < size {
            return node_in_tree(source, root, bytes, padding);
        }
        bytes -= size;
    }
    Ok(2 * length)
}

/// The node to prove for a byte that is under `root`.
fn node_in_tree(source: &impl NodeSource, root: u64, mut bytes: u64, padding: u64) -> Result<u64, Error> {
    if bytes == 0 {
        return Ok(root);
    }
    let mut iter = Iter::new(root);
    while iter.index & 1 == 1 {
        let parent = iter.index;
        let Some(left) = source.node(iter.left_child())? else { return Ok(parent) };
        let size = unpadded(&left, padding);
        if size == bytes {
            return Ok(iter.index);
        }
        if size < bytes {
            bytes -= size;
            iter.sibling();
        }
    }
    Ok(iter.index)
}

/// The node to prove for a byte that the asker believes to be under `root`.
pub(crate) fn node_under(
    head: &TreeHead,
    source: &impl NodeSource,
    root: u64,
    bytes: u64,
    padding: u64,
) -> Result<u64, Error> {
    let invalid = Error::InvalidRequest("the byte is not under the node");
    let before = padding.checked_mul(left_span(root) / 2).ok_or(invalid.clone())?;
    let offset = byte_offset(head, source, root)?.checked_sub(before).ok_or(invalid.clone())?;
    match bytes.checked_sub(offset) {
        None => Err(invalid),
        Some(0) => Ok(root),
        Some(rest) if unpadded(&source.expect(root)?, padding) <= rest => Err(invalid),
        Some(rest) => node_in_tree(source, root, rest, padding),
    }
}
