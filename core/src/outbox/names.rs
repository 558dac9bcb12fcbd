//! The names of folders and files.

/// The longest part of a folder's name for people, in bytes.
const READABLE: usize = 56;

/// The folder of a stream's producer: readable, valid on every system, and another one for every
/// other pair.
pub(crate) fn folder_name(stream: &str, producer_id: &str) -> String {
    let without_scheme = stream.split_once("://").map_or(stream, |(_, rest)| rest);
    let mut readable = String::new();
    for part in [cut_front(without_scheme, 36), producer_id] {
        for c in part.chars() {
            let c = c.to_ascii_lowercase();
            let is_plain = c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
            let c = if is_plain { c } else { '-' };
            if readable.len() < READABLE && !(c == '-' && readable.ends_with('-')) {
                readable.push(c);
            }
        }
        if !readable.ends_with('-') && readable.len() < READABLE {
            readable.push('-');
        }
    }
    let readable = readable.trim_matches(['-', '.']);
    format!("{readable}-{:032x}", hash(&[stream.as_bytes(), producer_id.as_bytes()]))
        .trim_start_matches('-')
        .to_owned()
}

/// The end of a long text: what tells streams apart is there.
fn cut_front(text: &str, most: usize) -> &str {
    let start = text.len().saturating_sub(most);
    let start = (start..=text.len()).find(|start| text.is_char_boundary(*start));
    &text[start.unwrap_or_default()..]
}

/// FNV-1a over both, 128 bits; a length in between, so that no two pairs are one text.
fn hash(parts: &[&[u8]]) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for part in parts {
        for byte in (part.len() as u64).to_le_bytes().iter().chain(*part) {
            hash = (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

/// The name of a segment's file.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:08}.seg")
}

/// The number of a segment's file; `None` for other files.
pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg")?.parse().ok().filter(|number| *number > 0)?;
    (segment_name(number) == name).then_some(number)
}
