require "include";
include "deep5";
include "deep5";
