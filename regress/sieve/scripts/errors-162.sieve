require ["vacation", "fcc"];
vacation :fcc 5 "b";
