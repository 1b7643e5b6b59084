//! The edge from control to smtp: events only, control waits for nothing.

crate::wire! {
    /// Control to smtp.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum ToSmtp {
        /// A connection to the control socket wants a mail session; it comes
        /// with this.  It is `from local`; its user is the peer's.
        Local { uid: u32, gid: u32 },
        /// Take no connections (`rmailctl pause smtp`), or take them again.
        Pause { paused: bool },
    }
}
