/// Takes fields off the front of bytes. `None` where they end early, or are too large.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a>(pub(super) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Seven bits a byte, the lowest first.
    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn varint32(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }

    /// A number with its sign in the lowest bit.
    pub(super) fn signed_varint(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A length and as many bytes.
    pub(super) fn prefixed(&mut self) -> Option<&'a [u8]> {
        let length = self.varint32()?;
        self.bytes(length as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_they_end() {
        assert_eq!(Cursor(&[0xac, 0x02]).varint(), Some(300));
        assert_eq!(Cursor(&[0xff; 9]).varint(), None);
        let largest = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(Cursor(&largest).varint(), Some(u64::MAX));
        let beyond = [&[0xff; 9][..], &[2]].concat();
        assert_eq!(Cursor(&beyond).varint(), None);
        assert_eq!(Cursor(&beyond).varint32(), None);
        assert_eq!(Cursor(&[3]).signed_varint(), Some(-2));
        assert_eq!(Cursor(&[4]).signed_varint(), Some(2));
        assert_eq!(Cursor(&[2, b'a', b'b', b'c']).prefixed(), Some(&b"ab"[..]));
        assert_eq!(Cursor(&[3, b'a', b'b']).prefixed(), None);
    }
}
