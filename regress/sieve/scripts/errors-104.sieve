require "mime";
if header :mime :type :param "x" "a" "b" { keep; }
