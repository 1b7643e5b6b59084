require ["imapsieve", "vacation"];
vacation "a";
