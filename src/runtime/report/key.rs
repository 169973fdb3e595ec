//! The key that the processes of a site share.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, header};
use rand::RngCore;
use subtle::ConstantTimeEq;
use tidegate_core::wire::KEY_SCHEME;

/// Random bytes of a generated key.
const GENERATED_BYTES: usize = 32;
/// Shortest key that is accepted: 16 characters of hexadecimal are 64 bits, too many to try over HTTP.
const MIN_CHARS: usize = 16;
/// Longest key that is accepted; it travels in an HTTP header.
const MAX_CHARS: usize = 256;

/// A shared key. Never printed.
#[derive(Clone)]
pub struct Key(String);

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read.
    #[error("key file {}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        reason: io::Error,
    },
    /// It holds something else.
    #[error("key file {}: allowed is one line of {MIN_CHARS} to {MAX_CHARS} printable ASCII characters", path.display())]
    Malformed {
        /// Its path.
        path: PathBuf,
    },
}

impl Key {
    /// Reads the key from a file of one line.
    ///
    /// # Errors
    /// If the file cannot be read or holds no usable key; the message never repeats its content.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let mut text = String::new();
        // Two more than a key and its line end: enough to see that it is too long.
        let limit = MAX_CHARS as u64 + 4;
        OpenOptions::new()
            .read(true)
            .open(path)
            .and_then(|file| file.take(limit).read_to_string(&mut text))
            .map_err(|reason| KeyError::Unreadable { path: path.to_owned(), reason })?;
        let key = text.trim_end_matches(['\r', '\n']);
        if !(MIN_CHARS..=MAX_CHARS).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyError::Malformed { path: path.to_owned() });
        }
        Ok(Self(key.to_owned()))
    }

    /// Returns a new random key of 256 bits.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = [0; GENERATED_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
        Self(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect())
    }

    /// Writes the key to a new file that only its owner may read.
    ///
    /// # Errors
    /// If the file exists (it may be another process's key) or cannot be written.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(self.0.as_bytes())?;
        file.write_all(b"\n")
    }

    /// Returns true if `presented` is this key. The time it takes tells only whether the lengths are equal.
    #[must_use]
    pub fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// Returns true if a request's `authorization` header presents this key.
    #[must_use]
    pub fn authorizes(&self, headers: &HeaderMap) -> bool {
        let presented = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        // RFC 9110, 11.1: the scheme's name is case-insensitive.
        presented
            .and_then(|value| value.split_once(' '))
            .is_some_and(|(scheme, key)| scheme.eq_ignore_ascii_case(KEY_SCHEME) && self.matches(key))
    }

    /// Returns the value of the `authorization` header.
    pub(super) fn authorization(&self) -> String {
        format!("{KEY_SCHEME} {}", self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_written_key_is_private_and_reads_back_as_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let key = Key::generate();
        key.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(key.matches(&Key::from_file(&path).unwrap().0));
        assert!(!key.matches(&Key::generate().0));
        assert_eq!(key.write(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_file_without_a_usable_key_is_refused_by_name_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for text in [
            "",
            "fifteen-chars-x",
            "with some spaces in it",
            "two-lines-of-text\nsecond",
            &"x".repeat(257),
            &"x".repeat(1000),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = Key::from_file(&path).unwrap_err().to_string();
            assert!(said.starts_with(&format!("key file {}: allowed is one line", path.display())), "{said}");
        }
        let missing = Key::from_file(Path::new("no/such")).unwrap_err().to_string();
        assert!(missing.starts_with("key file no/such: cannot be read: No such file"), "{missing}");
    }

    #[test]
    fn only_a_bearer_of_the_key_is_authorized() {
        let key = Key("0123456789abcdef".into());
        let cases = [
            ("Bearer 0123456789abcdef", true),
            ("bearer 0123456789abcdef", true),
            ("Bearer 0123456789abcdeF", false),
            ("Bearer 0123456789abcde", false),
            ("Basic 0123456789abcdef", false),
            ("0123456789abcdef", false),
            ("", false),
        ];
        for (value, authorized) in cases {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            assert_eq!(key.authorizes(&headers), authorized, "{value}");
        }
        assert!(!key.authorizes(&HeaderMap::new()));
    }
}
