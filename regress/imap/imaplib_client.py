# Drives the daemon with Python's own IMAP client: one behaviour per name.
#
# usage: imaplib_client.py behaviour port user password
import imaplib
import ssl
import sys
import time

behaviour, port, user, password = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
c = imaplib.IMAP4_SSL("127.0.0.1", int(port), ssl_context=context)


def ok(result):
    assert result[0] == "OK", result
    return result[1]


ok(c.login(user, password))
MAIL = (b"From: Joe <joe@example.com>\r\nTo: ann@example.com\r\nSubject: number %d\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
        b"--b\r\n\r\nfirst part\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>second\r\n--b--\r\n")


def fill(n):
    for i in range(1, n + 1):
        ok(c.append("INBOX", "(\\Seen)" if i % 2 else None, imaplib.Time2Internaldate(time.time()), MAIL % i))
    return ok(c.select("INBOX"))


if behaviour == "append-and-fetch":
    assert fill(3) == [b"3"]
    data = ok(c.fetch("1:3", "(UID FLAGS RFC822.SIZE BODY.PEEK[])"))
    assert data[0][1] == MAIL % 1, data[0]
    assert b"\\Seen" in data[0][0] and b"\\Seen" not in data[2][0], data
    data = ok(c.uid("FETCH", "2", "(BODY.PEEK[2] BODY.PEEK[1.MIME] ENVELOPE BODYSTRUCTURE)"))
    assert any(part[1] == b"<p>second" for part in data if isinstance(part, tuple)), data
elif behaviour == "search":
    fill(10)
    assert ok(c.search(None, "UNSEEN")) == [b"2 4 6 8 10"]
    assert ok(c.search(None, "SUBJECT", '"number 7"')) == [b"7"]
    assert ok(c.search("UTF-8", "BODY", '"SECOND"')) == [b"1 2 3 4 5 6 7 8 9 10"]
    assert ok(c.uid("SEARCH", "OR", "UID", "3", "SUBJECT", '"number 5"')) == [b"3 5"]
elif behaviour == "store-and-expunge":
    fill(5)
    ok(c.store("2,4", "+FLAGS", "(\\Deleted $Junk)"))
    assert ok(c.search(None, "KEYWORD", "$Junk")) == [b"2 4"]
    assert ok(c.expunge()) == [b"4", b"2"]
    assert ok(c.search(None, "ALL")) == [b"1 2 3"]
elif behaviour == "copy-and-move":
    fill(3)
    ok(c.create("Archive"))
    ok(c.copy("1:2", "Archive"))
    typ, data = c.uid("MOVE", "3", "Archive")
    assert typ == "OK", data
    assert ok(c.select("Archive", readonly=True)) == [b"3"]
    assert ok(c.select("INBOX")) == [b"2"]
elif behaviour == "mailboxes":
    names = b"\n".join(ok(c.list()))
    assert b'(\\HasNoChildren \\Junk) "." Junk' in names, names
    ok(c.create("a.b"))
    ok(c.subscribe("a.b"))
    assert b"a.b" in b"\n".join(ok(c.lsub()))
    ok(c.rename("a.b", "a.c"))
    ok(c.unsubscribe("a.b"))
    ok(c.delete("a.c"))
    assert c.select("a.c")[0] == "NO"
    assert ok(c.status("INBOX", "(MESSAGES UIDNEXT)")) == [b"INBOX (MESSAGES 0 UIDNEXT 1)"]
elif behaviour == "namespace-and-noop":
    assert ok(c.namespace()) == [b'(("" ".")) NIL NIL']
    ok(c.noop())
    ok(c.select("INBOX"))
    ok(c.check())
    ok(c.unselect())
else:
    sys.exit("unknown behaviour")
c.logout()
