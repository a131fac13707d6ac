//! Bodies of write requests, made by hand: remote_write 1.0 as its specification has it, and as it must not be.

/// A `prometheus.WriteRequest`.
#[derive(Clone, Debug, Default)]
pub struct WriteBody(Vec<u8>);

impl WriteBody {
    /// Makes one without series.
    pub fn new() -> WriteBody {
        WriteBody::default()
    }

    /// Adds a series with these labels, and samples at milliseconds.
    #[must_use]
    pub fn series(mut self, labels: &[(&str, &str)], samples: &[(i64, f64)]) -> WriteBody {
        let mut series = Vec::new();
        for (name, value) in labels {
            let mut label = Vec::new();
            field(1, name.as_bytes(), &mut label);
            field(2, value.as_bytes(), &mut label);
            field(1, &label, &mut series);
        }
        for (at, value) in samples {
            let mut sample = vec![0x09];
            sample.extend(value.to_bits().to_le_bytes());
            sample.push(0x10);
            varint(*at as u64, &mut sample);
            field(2, &sample, &mut series);
        }
        field(1, &series, &mut self.0);
        self
    }

    /// Returns it as a block of snappy that compresses nothing.
    pub fn packed(&self) -> Vec<u8> {
        let mut block = Vec::new();
        varint(self.0.len() as u64, &mut block);
        for piece in self.0.chunks(60) {
            block.push((piece.len() as u8 - 1) << 2);
            block.extend_from_slice(piece);
        }
        block
    }

    /// Returns a block of snappy that unpacks to `bytes` zeros.
    pub fn zeros(bytes: usize) -> Vec<u8> {
        repeated(&[0, 0], bytes)
    }

    /// Returns a block of snappy that unpacks to `count` series without anything in them.
    pub fn empty_series(count: usize) -> Vec<u8> {
        repeated(&[0x0a, 0], 2 * count)
    }
}

/// Packs `bytes` bytes, `pair` again and again: three bytes for each sixty-four.
fn repeated(pair: &[u8; 2], bytes: usize) -> Vec<u8> {
    let mut block = Vec::new();
    varint(bytes as u64, &mut block);
    block.push(1 << 2);
    block.extend_from_slice(pair);
    let mut left = bytes - 2;
    while left > 0 {
        let length = left.min(64);
        // A copy of `length` bytes from two bytes before.
        block.extend_from_slice(&[((length as u8 - 1) << 2) | 2, 2, 0]);
        left -= length;
    }
    block
}

fn field(number: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(number << 3 | 2);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
