require "include";
include "deep6";
include "deep6";
