require "include";
include "deep2";
include "deep2";
