require "regex";
if header :regex "a" "(.{255}){255}" { keep; }
