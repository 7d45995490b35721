//! Random bytes from the kernel, getrandom(2).
use crate::ids::{Mark, Token};
use std::io;

/// Fills `bytes`.
///
/// # Errors
/// The kernel's; only on kernels without the system call.
pub fn fill(bytes: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        // SAFETY: the pointer and the length are those of one live slice.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => done += got,
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Draws a token.
///
/// # Errors
/// If the kernel has no random numbers.
pub fn token() -> io::Result<Token> {
    let mut bytes = [0; 16];
    fill(&mut bytes)?;
    Ok(Token(bytes))
}

/// Draws a mark.
///
/// # Errors
/// Those of [`token`].
pub fn mark() -> io::Result<Mark> {
    token().map(Mark::from)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_filled_whatever_their_number() {
        super::fill(&mut []).unwrap();
        // More than one system call returns.
        let mut bytes = vec![0; 40 << 20];
        super::fill(&mut bytes).unwrap();
        assert!(bytes.chunks(64).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    }
}
