require "ihave";
if ihave "copy" { keep; } else { frobnicate; }
