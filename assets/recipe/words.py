"""Word lists for the generators."""
GIRLS = ("Anna Mia Lily Zoe Emma Nora Ruby Ella Maya Lucy Sara Ivy Alice Clara Rosa Hana Leila Grace Julia Tara "
         "Wendy Olive Nina Elsa Priya Aisha Carmen Freya Ingrid Yuki").split()
BOYS = ("Tom Ben Sam Leo Max Jack Noah Finn Oscar Theo Adam Eli Hugo Omar Paul Raj Kofi Luca Marco Felix Henry "
        "Peter Simon Victor Walter Arlo Bruno Dean Ivan Jonas").split()
SURNAMES = ("Adams Baker Carter Davis Evans Fisher Green Harris Irving Jones King Lewis Miller Nolan Owens Parker "
            "Quinn Reed Smith Turner Underwood Vance Walker Young Berg Cole Drake Ellis Ford Grant Hale Lane Marsh "
            "North Page Ross Stone Thorn Webb West").split()
ANIMALS = ("cat dog rabbit duck frog mouse horse goat fox bear owl turtle hen pig sheep parrot squirrel hedgehog "
           "pony lamb crow beaver").split()
THINGS = ("ball kite book hat cup lamp key box boat drum coin map bell rope shoe basket clock spoon scarf ring "
          "pencil button bucket ladder mirror blanket whistle candle bottle stone").split()
COLOURS = "red blue green yellow white black brown pink purple orange grey silver golden".split()
FOODS = ("bread soup cake apples rice cheese pie noodles pancakes carrots berries eggs salad pears honey cookies "
         "beans pizza porridge").split()
PLACES = ("garden park kitchen school library market beach forest farm river playground shop bakery station lake "
          "barn attic bridge meadow harbour").split()
TOWNS = "Paris London Rome Oslo Cairo Lima Delhi Tokyo Boston Dublin Madrid Vienna Nairobi Athens Berlin Quito".split()
JOBS = "baker teacher doctor farmer painter driver sailor nurse cook gardener builder singer writer dentist".split()
FEELINGS = "happy sad tired proud afraid angry curious excited lonely surprised worried calm".split()
WEATHER = "sunny rainy windy snowy cloudy warm cold foggy".split()
SIMPLE = ("tree moon fish star wind rain leaf hill road door song bird sand snow fire milk corn wolf king ship "
          "cloud river apple chair table glass paper water house window bread tiger lemon grass clock train").split()
