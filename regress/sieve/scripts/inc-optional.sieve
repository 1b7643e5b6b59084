require "include";
include :optional "nowhere";
keep;
