require "include";
include "deep3";
include "deep3";
