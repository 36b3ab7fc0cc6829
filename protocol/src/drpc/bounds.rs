//! How large a request may be.

use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::Status;

/// What one request may be. More of it fails the call before it is decoded: two bytes on the wire may become a hundred in memory.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes on the wire.
    pub bytes: usize,
    /// Fields of the message itself; each item of a list is one.
    pub fields: usize,
}

impl Bounds {
    pub(super) fn check(self, body: &[u8]) -> Result<(), Status> {
        if body.len() > self.bytes {
            return Err(Status::new(format!("request of {} bytes is over the limit of {}", body.len(), self.bytes)));
        }
        // Each field has two bytes at least.
        if body.len() / 2 > self.fields && has_more_fields(body, self.fields) {
            return Err(Status::new(format!("the request has more than {} items", self.fields)));
        }
        Ok(())
    }
}

/// Whether a message has more than `most` fields. What cannot be read is left to the decoder, which says why.
fn has_more_fields(mut body: &[u8], most: usize) -> bool {
    for _ in 0..=most {
        let Ok((tag, wire_type)) = decode_key(&mut body) else { return false };
        if skip_field(wire_type, tag, &mut body, DecodeContext::default()).is_err() {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_bounded_before_it_is_decoded() {
        let check = |body: &[u8]| Bounds { bytes: 20, fields: 3 }.check(body).map_err(|status| status.message);
        for good in [vec![], [0x12, 0].repeat(3), [0x0a, 18].into_iter().chain([7; 18]).collect(), vec![0xff; 20]] {
            assert_eq!(check(&good), Ok(()), "{good:?}");
        }
        assert_eq!(check(&[0x12, 0].repeat(4)), Err("the request has more than 3 items".into()));
        assert_eq!(check(&[0; 21]), Err("request of 21 bytes is over the limit of 20".into()));
    }
}
