require "enotify";
notify "xmpp:a@example.com";
