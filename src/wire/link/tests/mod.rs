mod fragments;
mod streams;
mod vectors;

/// Bytes that tell where they are from; the first one is that of a data packet.
fn packet(seed: u8, len: usize) -> Vec<u8> {
    let bytes = (1..len).map(|at| (at as u8).wrapping_mul(7).wrapping_add(seed));
    std::iter::once(0x80).take(len).chain(bytes).collect()
}
