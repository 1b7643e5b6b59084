require "ihave";
if allof (ihave "nonsense", frobnicate "x") { keep; }
