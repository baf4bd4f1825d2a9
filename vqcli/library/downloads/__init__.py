"""Files of the Hub, checked, through its own client, which is imported where it is used."""
