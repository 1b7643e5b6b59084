require "include";
include :global "both";
