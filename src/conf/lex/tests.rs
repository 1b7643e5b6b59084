use super::*;
use crate::conf::NoFiles;

struct One(&'static str);
impl Source for One {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.into())
    }
}

fn lex(text: &str) -> Vec<Token> {
    let mut none = NoFiles;
    let mut lexer = Lexer::new("t", text.as_bytes(), &[], &mut none);
    let mut all = Vec::new();
    loop {
        match lexer.next() {
            Token::End => break,
            t => all.push(t),
        }
    }
    assert_eq!(all.pop(), Some(Token::Newline), "the end of a file ends its line");
    assert!(lexer.errors.is_empty(), "{:?}", lexer.errors);
    all
}

fn error(text: &str) -> String {
    let mut none = NoFiles;
    let mut lexer = Lexer::new("t", text.as_bytes(), &[], &mut none);
    while lexer.next() != Token::End {}
    lexer.errors.first().map(ToString::to_string).unwrap_or_default()
}

fn w(s: &str) -> Token {
    Token::Word(s.into())
}
fn q(s: &str) -> Token {
    Token::Quoted(s.into())
}

#[test]
fn words_keywords_and_signs() {
    assert_eq!(
        lex("listen on lo0!<t>{a,b}k=v=>x"),
        [
            Token::Keyword("listen"),
            Token::Keyword("on"),
            w("lo0"),
            Token::Sign(b'!'),
            Token::Sign(b'<'),
            w("t"),
            Token::Sign(b'>'),
            Token::Sign(b'{'),
            w("a"),
            Token::Sign(b','),
            w("b"),
            Token::Sign(b'}'),
            w("k"),
            Token::Sign(b'='),
            w("v"),
            Token::Arrow,
            w("x"),
        ]
    );
}

#[test]
fn case_matters_in_keywords() {
    assert_eq!(lex("Listen"), [w("Listen")]);
}

#[test]
fn numbers_and_what_only_looks_like_one() {
    let n = |n: i64, s: &str| Token::Number(n, s.into());
    assert_eq!(
        lex("25 -1 35M 4h 192.168.0.1"),
        [n(25, "25"), n(-1, "-1"), w("35M"), w("4h"), w("192.168.0.1")]
    );
    assert_eq!(lex("1,2}"), [n(1, "1"), Token::Sign(b','), n(2, "2"), Token::Sign(b'}')]);
    assert_eq!(lex("-x"), [Token::Sign(b'-'), w("x")]);
    assert_eq!(lex("99999999999999999999"), [w("99999999999999999999")]);
    assert_eq!(lex("\"25\""), [q("25")]);
}

#[test]
fn a_backslash_joins_lines_and_a_comment_takes_them_all() {
    assert_eq!(lex("a \\\n b"), [w("a"), w("b")]);
    assert_eq!(lex("# a \\\n b\nc"), [Token::Newline, w("c")]);
    assert_eq!(lex("a\\bc"), [w("abc")]);
    assert_eq!(lex("a\\\nb"), [w("ab")]);
}

#[test]
fn inside_quotes() {
    assert_eq!(lex("\"a'b\" 'a\"b'"), [q("a'b"), q("a\"b")]);
    assert_eq!(lex("\"a\nb\""), [q("ab")]);
    assert_eq!(lex("\"a\\\nb\""), [q("ab")]);
    assert_eq!(lex(r#""a\"b\ c\nd\\e""#), [q(r#"a"b c\nd\\e"#)]);
    assert_eq!(lex(r#"'a\"b\'c'"#), [q(r#"a\"b'c"#)]);
    assert_eq!(lex("\"listen $x # 1\""), [q("listen $x # 1")]);
}

#[test]
fn paths_and_brackets_begin_no_word() {
    for sign in b"/.~@+*[" {
        let text = format!("{}x", char::from(*sign));
        assert_eq!(lex(&text), [Token::Sign(*sign), w("x")]);
    }
    assert_eq!(lex("file:/etc/x"), [w("file:/etc/x")]);
}

#[test]
fn errors_of_words() {
    assert!(error("a \"b").contains("never closed"));
    assert!(error("$no").contains("not defined"));
    assert!(error("\"a\0b\"").contains("NUL"));
    assert!(error(&format!("\"{}\"", "x".repeat(TOKEN_MAX + 1))).contains("longer"));
    assert!(error(&"x".repeat(TOKEN_MAX + 1)).contains("longer"));
    assert_eq!(error(&format!("\"{}\"", "x".repeat(TOKEN_MAX))), "");
    assert_eq!(error("\n\n \"b\n\n"), "t:3: a quote is opened here and never closed");
}

#[test]
fn a_macro_is_lexed_in_its_place() {
    let mut none = NoFiles;
    let mut lexer = Lexer::new("t", b"$a.d $b", &[("b".into(), "$a".into())], &mut none);
    lexer.define("a", "x { y", Pos { file: "t".into(), line: 1 });
    assert_eq!(lexer.next(), w("x"));
    assert_eq!(lexer.next(), Token::Sign(b'{'));
    assert_eq!(lexer.next(), w("y.d"), "what follows the macro belongs to its last word");
    assert_eq!(lexer.next(), Token::Sign(b'$'), "no macro inside a macro");
}

#[test]
fn the_command_line_wins() {
    let mut none = NoFiles;
    let mut lexer = Lexer::new("t", b"$a", &[("a".into(), "one".into())], &mut none);
    lexer.define("a", "two", Pos { file: "t".into(), line: 1 });
    assert_eq!(lexer.next(), w("one"));
}

#[test]
fn an_included_file_is_read_to_its_end_and_then_the_first_goes_on() {
    let mut one = One("b");
    let mut lexer = Lexer::new("t", b"a\nc", &[], &mut one);
    assert_eq!(lexer.next(), w("a"));
    assert_eq!(lexer.next(), Token::Newline);
    lexer.include("/x").unwrap();
    assert_eq!(lexer.next(), w("b"));
    assert_eq!(lexer.at.to_string(), "/x:1");
    assert_eq!(lexer.next(), Token::Newline);
    assert_eq!(lexer.next(), w("c"));
    assert_eq!(lexer.at.to_string(), "t:2");
}

#[test]
fn includes_are_bounded() {
    let mut one = One("b");
    let mut lexer = Lexer::new("t", b"", &[], &mut one);
    let deep = (0..).find(|_| lexer.include("/x").is_err()).unwrap();
    assert_eq!(deep, INCLUDE_MAX - 1);
}
