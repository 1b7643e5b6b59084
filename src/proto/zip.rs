//! What a zip archive says that it holds: its central directory.
//!
//! *Runs in* filter (names of attachments) and wherever a packed report is
//! read; input is hostile.  Nothing is unpacked here, so that an archive cannot
//! be a bomb: the directory at its end is read, each entry once, and at most
//! [`limits::ZIP_ENTRIES`] of them.  What an archive does not list, most
//! programs do not show either.  APPNOTE.TXT 4.3.6, 4.3.12, 4.3.16.

use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// A file or directory of an archive, as the central directory has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name with its path, as written: bytes of an unknown character set.
    pub name: &'a [u8],
    /// It cannot be read without a password.
    pub encrypted: bool,
    /// How it is packed: 0 is not at all, 8 is deflate.
    pub method: u16,
    /// Octets in the archive.
    pub packed: usize,
    /// Octets when unpacked, as the archive claims.
    pub size: usize,
    /// Where its local header begins in the archive.
    pub at: usize,
}

/// An archive's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory<'a> {
    /// The entries, in their order.
    pub entries: Vec<Entry<'a>>,
    /// There are more than are listed.
    pub cut: bool,
}

/// There is no central directory, or it is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotZip;

/// Octets of the end record without its comment.
const END: usize = 22;
/// The longest comment.
const COMMENT: usize = 0xffff;

/// Lists an archive.
pub fn list(archive: &[u8]) -> Result<Directory<'_>, NotZip> {
    let (end_at, end) = find_end(archive).ok_or(NotZip)?;
    // Octets before the archive, as in a program that unpacks itself, move all
    // offsets by as many.
    let start = end_at.checked_sub(end.size).ok_or(NotZip)?;
    let moved = start.checked_sub(end.offset).ok_or(NotZip)?;
    let mut c = Cursor::new(archive.get(start..end_at).ok_or(NotZip)?);
    let mut directory = Directory::default();
    while !c.at_end() {
        if directory.entries.len() >= limits::ZIP_ENTRIES.size() {
            directory.cut = true;
            break;
        }
        directory.entries.push(entry(&mut c, moved).ok_or(NotZip)?);
    }
    Ok(directory)
}

/// What the end record says.
struct End {
    size: usize,
    offset: usize,
}

/// The last end record whose comment reaches to the end: a comment may hold what
/// looks like one.
fn find_end(archive: &[u8]) -> Option<(usize, End)> {
    let first = archive.len().saturating_sub(END.saturating_add(COMMENT));
    let tail = archive.get(first..)?;
    memchr::memmem::rfind_iter(tail, b"PK\x05\x06").find_map(|at| {
        let mut c = Cursor::new(tail.get(at.saturating_add(4)..)?);
        c.take(8)?;
        let (size, offset) = (u32_at(&mut c)?, u32_at(&mut c)?);
        let comment = u16_at(&mut c)?;
        let whole = c.left() == usize::from(comment);
        whole.then_some((first.saturating_add(at), End { size, offset }))
    })
}

fn entry<'a>(c: &mut Cursor<'a>, moved: usize) -> Option<Entry<'a>> {
    if !c.eat_exact(b"PK\x01\x02") {
        return None;
    }
    c.take(4)?;
    let flags = u16_at(c)?;
    let method = u16_at(c)?;
    c.take(8)?;
    let (packed, size) = (u32_at(c)?, u32_at(c)?);
    let (name, extra, comment) = (u16_at(c)?, u16_at(c)?, u16_at(c)?);
    c.take(8)?;
    let at = moved.checked_add(u32_at(c)?)?;
    let name = c.take(usize::from(name))?;
    c.take(usize::from(extra))?;
    c.take(usize::from(comment))?;
    // Bit 0: encrypted; bit 13: the directory is too.
    Some(Entry { name, encrypted: flags & 0x2001 != 0, method, packed, size, at })
}

fn u16_at(c: &mut Cursor<'_>) -> Option<u16> {
    Some(u16::from_le_bytes(c.take(2)?.try_into().ok()?))
}

fn u32_at(c: &mut Cursor<'_>) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(c.take(4)?.try_into().ok()?)).ok()
}

impl<'a> Entry<'a> {
    /// True for a directory.
    pub fn is_directory(&self) -> bool {
        self.name.ends_with(b"/") || self.name.ends_with(b"\\")
    }

    /// The packed octets: those after the local header.
    pub fn data(&self, archive: &'a [u8]) -> Option<&'a [u8]> {
        let mut c = Cursor::new(archive.get(self.at..)?);
        if !c.eat_exact(b"PK\x03\x04") {
            return None;
        }
        c.take(22)?;
        let (name, extra) = (u16_at(&mut c)?, u16_at(&mut c)?);
        c.take(usize::from(name))?;
        c.take(usize::from(extra))?;
        c.take(self.packed)
    }

    /// True if the name ends as that of a program does, with the ending of a
    /// document before it: what a reader who is shown no endings takes for the
    /// document.
    pub fn has_double_extension(&self) -> bool {
        has_double_extension(self.name)
    }
}

/// Endings of what runs when it is opened.
const PROGRAMS: &[&str] = &[
    "bat", "cmd", "com", "cpl", "exe", "hta", "iso", "jar", "js", "jse", "lnk", "msi", "pif",
    "ps1", "scr", "vbe", "vbs", "wsf", "wsh",
];
/// Endings of what people open.
const DOCUMENTS: &[&str] = &[
    "doc", "docx", "gif", "htm", "html", "jpeg", "jpg", "mp3", "mp4", "ods", "odt", "pdf", "png",
    "ppt", "pptx", "rtf", "txt", "xls", "xlsx", "xml", "zip",
];

/// As [`Entry::has_double_extension`], for the name of any attachment.
pub fn has_double_extension(name: &[u8]) -> bool {
    let blank = |b: &u8| b.is_ascii_whitespace() || *b == b'.';
    let end = name.iter().rposition(|b| !blank(b)).map_or(0, |n| n.saturating_add(1));
    let mut pieces = name.get(..end).unwrap_or_default().rsplit(|b| *b == b'.');
    let is = |piece: Option<&[u8]>, endings: &[&str]| {
        let piece = piece.unwrap_or_default().trim_ascii();
        endings.iter().any(|e| piece.eq_ignore_ascii_case(e.as_bytes()))
    };
    // What is left of the last dot must itself have one: "exe" is no ending of "pdf.exe".
    is(pieces.next(), PROGRAMS) && is(pieces.next(), DOCUMENTS) && pieces.next().is_some()
}

/// Fuzz target: an archive lists nothing that is not in it.
pub fn fuzz_list(bytes: &[u8]) {
    let Ok(directory) = list(bytes) else { return };
    assert!(directory.entries.len() <= limits::ZIP_ENTRIES.size());
    let names: usize = directory.entries.iter().map(|e| e.name.len()).sum();
    assert!(names <= bytes.len());
    for entry in &directory.entries {
        let data = entry.data(bytes).unwrap_or_default();
        assert!(data.len() <= bytes.len());
        let _odd = entry.has_double_extension();
    }
}

#[cfg(test)]
pub(in crate::proto) mod tests {
    use super::*;
    use crate::proto::testing::assert_linear;

    /// What a file of an archive is like.
    pub(in crate::proto) struct File<'a> {
        pub name: &'a str,
        pub flags: u16,
        pub method: u16,
        pub data: &'a [u8],
        pub size: usize,
    }

    fn le(n: usize, octets: usize) -> Vec<u8> {
        n.to_le_bytes()[..octets].to_vec()
    }

    /// An archive of these files.
    pub(in crate::proto) fn archive(files: &[File<'_>]) -> Vec<u8> {
        let (mut out, mut directory) = (Vec::new(), Vec::new());
        for f in files {
            let at = out.len();
            let common = [
                le(usize::from(f.flags), 2),
                le(usize::from(f.method), 2),
                vec![0; 8],
                le(f.data.len(), 4),
                le(f.size, 4),
                le(f.name.len(), 2),
                vec![0; 2],
            ]
            .concat();
            out.extend_from_slice(
                &[&b"PK\x03\x04\x14\0"[..], &common, f.name.as_bytes(), f.data].concat(),
            );
            let rest = [vec![0; 10], le(at, 4)].concat();
            directory.extend_from_slice(
                &[&b"PK\x01\x02\x14\0\x14\0"[..], &common, &rest, f.name.as_bytes()].concat(),
            );
        }
        let (size, offset) = (directory.len(), out.len());
        out.extend_from_slice(&directory);
        let count = le(files.len(), 2);
        out.extend_from_slice(
            &[&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &le(size, 4), &le(offset, 4), &[0, 0]]
                .concat(),
        );
        out
    }

    pub(in crate::proto) fn file<'a>(name: &'a str, data: &'a [u8]) -> File<'a> {
        File { name, flags: 0, method: 0, data, size: data.len() }
    }

    /// APPNOTE.TXT 4.3.12, 4.4.4.
    #[test]
    fn a_zip_is_listed_by_its_central_directory_and_nothing_is_unpacked() {
        let bomb = File { method: 8, size: 4_000_000_000, ..file("bomb.bin", b"\xff\xff") };
        let secret = File { flags: 1, ..file("a/secret.doc", b"?") };
        let zip = archive(&[file("a/", b""), secret, bomb, file("r.xml", b"<a/>")]);
        let directory = list(&zip).unwrap();
        let names: Vec<_> = directory
            .entries
            .iter()
            .map(|e| (std::str::from_utf8(e.name).unwrap(), e.encrypted, e.is_directory(), e.size))
            .collect();
        assert_eq!(
            names,
            [
                ("a/", false, true, 0),
                ("a/secret.doc", true, false, 1),
                ("bomb.bin", false, false, 4_000_000_000),
                ("r.xml", false, false, 4),
            ]
        );
        assert_eq!(directory.entries[3].data(&zip), Some(&b"<a/>"[..]));
        // Behind a program, and with a comment that looks like an end.
        let mut stub = [b"MZ program".as_slice(), &zip].concat();
        let at = stub.len() - 2;
        stub[at] = 6;
        stub.extend_from_slice(b"PK\x05\x06xx");
        assert_eq!(list(&stub).unwrap().entries[3].data(&stub), Some(&b"<a/>"[..]));
    }

    #[test]
    fn a_directory_that_is_missing_or_damaged_is_no_zip() {
        let zip = archive(&[file("r.xml", b"<a/>")]);
        assert_eq!(list(b""), Err(NotZip));
        for n in 0..zip.len() {
            assert_eq!(list(&zip[..n]), Err(NotZip), "{n}");
        }
        for at in 0..zip.len() {
            let mut other = zip.clone();
            other[at] ^= 0xff;
            fuzz_list(&other);
        }
        let many: Vec<File<'_>> = (0..1500).map(|_| file("x", b"")).collect();
        let many = archive(&many);
        let directory = list(&many).unwrap();
        assert_eq!((directory.entries.len(), directory.cut), (limits::ZIP_ENTRIES.size(), true));
    }

    #[test]
    fn a_program_that_is_named_as_a_document_has_a_double_extension() {
        for name in
            ["invoice.pdf.exe", "a/b.DOC.Scr", "x.jpg      .exe", "x.pdf.exe. ", "i.html.js"]
        {
            assert!(has_double_extension(name.as_bytes()), "{name}");
        }
        for name in ["setup.exe", "pdf.exe", "a.tar.gz", "v1.2.exe", "x.exe.pdf", "", ".", "a.pdf"]
        {
            assert!(!has_double_extension(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn time_doubles_with_the_input() {
        for unit in ["PK\x05\x06", "PK\x01\x02", "PK", "\0"] {
            assert_linear(|n| {
                let _ = std::hint::black_box(list(unit.repeat(n / unit.len()).as_bytes()));
            });
        }
        assert_linear(|n| {
            let files: Vec<File<'_>> = (0..n / 100).map(|_| file("name.pdf.exe", b"")).collect();
            let zip = archive(&files);
            let directory = list(&zip).unwrap();
            std::hint::black_box(
                directory.entries.iter().filter(|e| e.has_double_extension()).count(),
            );
        });
    }
}
