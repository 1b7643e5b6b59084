//! Reports as messages: an aggregate report of DMARC, a report of SMTP TLS.
//!
//! *Runs in* queue, which signs what is made here as any other mail of ours and
//! sends it with a reverse-path to which nothing is returned.  Lines end in
//! CRLF.  What stands in the header is ours or was read strictly: names of
//! domains and addresses.  RFC 9990 3.5; RFC 8460 5.3.

use crate::proto::addr::Mailbox;
use crate::proto::date::DateTime;
use crate::proto::dmarc::report::{file_name, subject};
use crate::proto::dns::Name;
use crate::proto::text::transfer::encode_base64;
use crate::proto::unpack::gzip;

/// What both kinds of report have.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// Who sends it: at the domain of a name that signs, so that it is aligned.
    pub from: &'a Mailbox,
    /// Who wanted it.
    pub to: &'a Mailbox,
    /// The domain that it is about.
    pub domain: &'a Name,
    /// The host that reports.
    pub submitter: &'a Name,
    /// The report's own id.
    pub id: &'a str,
    /// Seconds since 1970.
    pub begin: u64,
    /// Seconds since 1970.
    pub end: u64,
    /// When this is written.
    pub now: DateTime,
    /// Letters and digits that are used for no other message.
    pub unique: &'a str,
}

impl Letter<'_> {
    /// An aggregate report of DMARC.  RFC 9990 3.5.2.
    pub fn dmarc(&self, xml: &str) -> Vec<u8> {
        let kind = "multipart/mixed";
        self.write(kind, "", "DMARC aggregate report", "application/gzip", "xml.gz", xml)
    }

    /// A report of SMTP TLS.  RFC 8460 5.3.
    pub fn tls(&self, json: &str) -> Vec<u8> {
        let own = format!(
            "TLS-Report-Domain: {}\r\nTLS-Report-Submitter: {}\r\n",
            self.domain, self.submitter
        );
        let kind = "multipart/report; report-type=\"tlsrpt\"";
        self.write(kind, &own, "SMTP TLS report", "application/tlsrpt+gzip", "json.gz", json)
    }

    fn write(
        &self,
        kind: &str,
        own: &str,
        what: &str,
        attached: &str,
        ending: &str,
        report: &str,
    ) -> Vec<u8> {
        let (domain, submitter) = (self.domain.to_string(), self.submitter.to_string());
        let word = |text: &str| -> String {
            let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            text.chars().filter(good).take(255).collect()
        };
        let (id, unique) = (word(self.id), word(self.unique));
        let boundary = format!("=_{unique}");
        let name = file_name(&submitter, &domain, self.begin, self.end, &id);
        let name = name.strip_suffix("xml.gz").unwrap_or(&name);
        let mut out = format!(
            "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nDate: {date}\r\n\
             Message-ID: <{unique}@{submitter}>\r\nAuto-Submitted: auto-generated\r\n{own}\
             MIME-Version: 1.0\r\nContent-Type: {kind};\r\n\tboundary=\"{boundary}\"\r\n\r\n\
             --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
             {what} about {domain}\r\nby {submitter}.\r\n\r\n\
             --{boundary}\r\nContent-Type: {attached}\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment;\r\n\tfilename=\"{name}{ending}\"\r\n\r\n",
            from = self.from,
            to = self.to,
            subject = folded(&subject(&domain, &submitter, &id)),
            date = self.now.rfc5322(),
        )
        .into_bytes();
        out.extend_from_slice(&encode_base64(&gzip(report.as_bytes())));
        out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        out
    }
}

/// A subject with its parts on lines of their own: names are long.
fn folded(subject: &str) -> String {
    subject.replace(" Submitter:", "\r\n\tSubmitter:").replace(" Report-ID:", "\r\n\tReport-ID:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::addr::Charset;
    use crate::proto::date::Date;
    use crate::proto::mime::{self, Fields};
    use crate::proto::text::transfer;
    use crate::proto::unpack::unpack;

    fn letter(write: impl Fn(&Letter<'_>) -> Vec<u8>) -> Vec<u8> {
        let mailbox = |t: &str| Mailbox::parse(t.as_bytes(), Charset::Ascii).unwrap();
        let name = |t: &str| Name::parse(t.as_bytes()).unwrap();
        let (from, to) = (mailbox("reports@example.net"), mailbox("rua@example.com"));
        let (domain, submitter) = (name("example.com"), name("mx.example.net"));
        write(&Letter {
            from: &from,
            to: &to,
            domain: &domain,
            submitter: &submitter,
            id: "7\r\nBcc: x",
            begin: 86_400,
            end: 172_799,
            now: DateTime::new(Date::new(2026, 11, 28).unwrap(), 1, 2, 3, 0).unwrap(),
            unique: "abc",
        })
    }

    /// The header's fields; and of the attachment its type, its name and its content.
    fn read(message: &[u8]) -> (Vec<(String, String)>, String, String, Vec<u8>) {
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        let fields = Fields::new(message).map(|f| (text(f.name), text(&f.text()))).collect();
        let structure = mime::scan(message);
        assert_eq!((structure.parts.len(), structure.odd), (3, mime::Oddities::default()));
        let part = &structure.parts[2];
        let kind = format!("{}/{}", text(&part.content_type.main), text(&part.content_type.sub));
        let name = part.disposition.as_ref().unwrap().params.get(b"filename").unwrap().text();
        let packed = transfer::decode(part.encoding, part.body.of(message), 1 << 20);
        (fields, kind, name, unpack(&packed).unwrap())
    }

    fn field(fields: &[(String, String)], name: &str) -> Option<String> {
        fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone())
    }

    /// RFC 9990 3.5.2.
    #[test]
    fn an_aggregate_report_is_a_gzip_attached_to_a_message() {
        let message = letter(|l| l.dmarc("<feedback/>"));
        let (fields, kind, name, content) = read(&message);
        assert_eq!(kind, "application/gzip");
        assert_eq!(name, "mx.example.net!example.com!86400!172799!7Bccx.xml.gz");
        assert_eq!(content, b"<feedback/>");
        let subject = field(&fields, "Subject").unwrap();
        let words: Vec<&str> = subject.split_whitespace().collect();
        assert_eq!(
            words.join(" "),
            "Report Domain: example.com Submitter: mx.example.net Report-ID: <7Bccx>"
        );
        assert_eq!(field(&fields, "From").unwrap(), "<reports@example.net>");
        assert_eq!(field(&fields, "Auto-Submitted").unwrap(), "auto-generated");
        assert_eq!(field(&fields, "Bcc"), None);
        assert!(message.split(|b| *b == b'\n').all(|l| l.is_empty() || l.ends_with(b"\r")));
        assert!(message.split(|b| *b == b'\n').all(|l| l.len() <= 79));
    }

    /// RFC 8460 5.3.
    #[test]
    fn a_report_of_tls_names_its_domain_and_submitter_in_the_header() {
        let (fields, kind, name, content) = read(&letter(|l| l.tls("{\"policies\":[]}")));
        assert_eq!(
            (kind.as_str(), content.as_slice()),
            ("application/tlsrpt+gzip", &b"{\"policies\":[]}"[..])
        );
        assert_eq!(name, "mx.example.net!example.com!86400!172799!7Bccx.json.gz");
        assert_eq!(field(&fields, "TLS-Report-Domain").unwrap(), "example.com");
        assert_eq!(field(&fields, "TLS-Report-Submitter").unwrap(), "mx.example.net");
        let kind = field(&fields, "Content-Type").unwrap();
        assert!(kind.starts_with("multipart/report; report-type=\"tlsrpt\""), "{kind}");
    }
}
