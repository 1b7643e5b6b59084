require "ihave";
if ihave "nonsense" { frobnicate :x 3; } else { keep; }
